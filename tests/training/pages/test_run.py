import json
import logging
import shutil
from unittest import mock

import numpy as np
import pytest

from rnnlab import pictures
from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.tasks.seq2seq import samples
from rnnlab.training.pages.run import write_page, write_page_of
from rnnlab.training.report import best_params, split_scores
from rnnlab.training.reporting import Reporter
from rnnlab.training.window import Skipped
from rnnlab.training.workdir import open_task
from tests.training.pages.html_page import Page


@pytest.fixture
def copied(trained, tmp_path):
    """The work directory of a trained run, without its checkpoints."""
    return shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("best", "checkpoints"))


@pytest.fixture
def undrawn(monkeypatch):
    """Draws no curves, which takes longer than all else on a page."""
    monkeypatch.setattr(pictures, "draw_svg", lambda *_: b"<svg/>")


def _measured(workdir):
    """Adds what a run with `training.measure_every` records, and a skipped step."""
    reporter = Reporter(workdir, steps=400, start=400, quiet=True)
    for step in (200, 400):
        reporter.write(step, "flow", {"decoder/0/exponent": -0.1 * step, "decoder/0/log_norm": -1.0}, shown=())
        reporter.write_vector(step, "flow", "decoder/0/input_gradient", np.array([1e-6, 1e-3, 1.0]))
        reporter.write_histogram(step, "flow", "decoder/0/gate_f", np.full(16, 3), np.arange(-8.0, 9.0))
    reporter.write(400, "train", {"skipped": 1.0}, shown=())
    reporter.write_skipped([Skipped(399, 1, float("nan"), 2.5, "words.tsv, line 7")])
    reporter.close()


def test_a_page_needs_nothing_else_and_has_every_figure(copied):
    _measured(copied)
    page = Page(write_page_of(copied))
    page.check_alone()
    attention = [picture for picture in page.pictures if picture.startswith(b"\x89PNG")]
    assert attention == [(copied / f"attention_{i}.png").read_bytes() for i in range(4)]
    assert len(page.pictures) - len(attention) == 6 + 3 + 1  # curves, gradient flow, gates
    scores = json.loads((copied / "result.json").read_text())
    shown = dict(cells for section, cells in page.rows if section == "scores")
    assert float(shown["wer"]) == pytest.approx(scores["wer"], rel=1e-3)
    assert "The run ended; last logged step: 400 of 400" in page.text["start"]
    assert "words.tsv, line 7" in page.text["skipped"]
    assert "300 pairs" in page.text["data"]
    assert "tokens per second" in page.text["speed"]


def test_changed_fields_are_before_the_others_and_parameters_add_up(trained, copied, undrawn):
    page = Page(write_page_of(copied))
    config = [cells for section, cells in page.rows if section == "config"]
    ends = config.index(["field", "value", "meaning"])
    assert ["training.steps", "400", "5000"] in [row[:3] for row in config[:ends]]
    assert "training.optimizer" in [row[0] for row in config[ends:]]
    assert not [row for row in config if "FieldReference" in " ".join(row)]  # a default of several types
    parameters = [cells for section, cells in page.rows if section == "parameters"][1:]
    total = sum(int(count.replace(",", "")) for _, _, count in parameters)
    _, saved = best_params(open_task(trained))
    assert {name: shape for name, shape, _ in parameters} == {
        n: " x ".join(map(str, v.shape)) for n, v in saved.items()
    }
    assert total == sum(value.size for value in saved.values())
    assert f"{total:,} parameters" in page.text["parameters"]


def test_marks_agree_with_the_metric(trained, copied, undrawn):
    """Over a whole split, of a model that is sometimes wrong, the share of wrong marks is the error rate."""
    task = open_task(trained)
    task.config.evaluation.samples = 1000
    rng = np.random.default_rng(0)
    params = {name: value + 0.2 * rng.normal(size=value.shape) for name, value in best_params(task)[1].items()}
    with mock.patch.object(samples, "_draw_attention", return_value={}):
        shown = task.finish(params)
    listed = [{**sample._asdict(), "references": list(sample.references)} for sample in shown.samples]
    write_text(copied / "shown.json", json.dumps({"samples": listed, "pictures": {}}))
    marks = [cells[0] for section, cells in Page(write_page_of(copied)).rows if section == "samples"][1:]
    wrong = sum("wrong" in mark for mark in marks)
    assert 0 < wrong < len(marks) == 50
    assert 100 * wrong / len(marks) == pytest.approx(split_scores(task, params, "test")["wer"])


def test_a_run_in_training_says_what_is_not_there_yet(copied, undrawn):
    for name in ("result.json", "selection.json", "shown.json", "start.json", "compiled.csv"):
        (copied / name).unlink()
    page = Page(write_page_of(copied))
    assert "has not ended" in page.text["start"]
    assert "The last evaluation on validation" in page.text["scores"]
    assert "predicted at the end of the run" in page.text["samples"]
    assert "start.json is missing" in page.text["data"]
    assert "training.measure_every" in page.text["flow"]
    (copied / "metrics.csv").unlink()
    page = Page(write_page_of(copied))
    assert "no rows yet" in page.text["curves"]
    assert "Not evaluated yet" in page.text["scores"]


def test_damaged_files_are_named_and_the_rest_is_shown(copied):
    (copied / "source_vocabulary.json").write_text("{")
    (copied / "result.json").write_text('{"split": "te')
    (copied / "start.json").write_text("[1]")
    (copied / "metrics.csv").write_bytes(b"step,split,name,value\r\n5,train,loss,\xff\xfe\r\n\0\r\n")
    page = Page(write_page_of(copied))
    for name in ("source_vocabulary.json", "result.json", "start.json"):
        assert str(copied / name) in page.text["start"]
    assert "cannot be listed" in page.text["parameters"]
    assert [cells for section, cells in page.rows if section == "samples"]


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_run_without_its_config_is_one_line(copied, content):
    (copied / "config.json").unlink()
    if content is not None:
        (copied / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"not a work directory|is damaged"):
        write_page_of(copied)
    assert not (copied / "report.html").exists()


def test_texts_of_a_run_are_no_html(copied, undrawn):
    sample = {"input": "<script>a</script>", "predicted": '"\ud800&amp;', "references": ["<b>"], "right": False}
    write_text(copied / "shown.json", json.dumps({"samples": [sample], "pictures": {"gone.png": "a <picture>"}}))
    page = Page(write_page_of(copied))
    page.check_alone()
    assert ["✗ wrong", "<script>a</script>", '"\\ud800&amp;', "<b>"] in [cells for _, cells in page.rows]
    assert "gone.png" in page.text["pictures"]


def test_a_page_that_fails_at_the_end_of_a_run_is_a_warning(trained, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    with mock.patch("rnnlab.training.pages.run._start", side_effect=OSError(28, "No space left")):
        write_page(open_task(trained))
    assert "report.html could not be drawn" in caplog.text
