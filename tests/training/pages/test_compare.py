import json
import shutil

import pytest

from rnnlab import pictures
from rnnlab.config import make_config
from rnnlab.errors import UserError
from rnnlab.tasks.lag.task import LagTask
from rnnlab.training.pages import compare as pages
from rnnlab.training.pages.compare import compare
from tests.training.pages.html_page import Page


@pytest.fixture
def runs(trained, tmp_path):
    """Two copies of a run, the second one with another seed and other scores, and still in training."""
    ignored = shutil.ignore_patterns("best", "checkpoints")
    paths = [shutil.copytree(trained, tmp_path / name, ignore=ignored) for name in ("a,b=1", "글")]
    config = json.loads((paths[1] / "config.json").read_text())
    config["seed"], config["training"]["learning_rate"] = 7, 0.5
    (paths[1] / "config.json").write_text(json.dumps(config))
    (paths[1] / "result.json").unlink()
    return paths


def test_only_what_differs_is_listed_beside_the_scores(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pages, "_draw", lambda *_: None)
    monkeypatch.setattr(pictures, "draw_svg", lambda *_: b"<svg/>")
    compare(runs, tmp_path / "out")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:4] == [
        ["Config", "fields", "that", "differ", "a,b=1", "글"],
        ["seed", "0", "7"],
        ["training.learning_rate", "0.01", "0.5"],
        [],
    ]
    scores = json.loads((runs[0] / "result.json").read_text())
    (wer,) = [line for line in lines if line[:2] == ["test", "wer"]]
    assert float(wer[2]) == pytest.approx(scores["wer"], rel=1e-3)
    assert wer[3] == "-"
    (validation,) = [line for line in lines if line[:3] == ["last", "validation", "wer"]]
    assert validation[3] == validation[4]
    assert lines[-1] == [str(tmp_path / "out" / "compare.html")]


def test_the_page_has_the_same_tables_and_a_picture_of_each_curve(runs, tmp_path):
    compare(runs, tmp_path / "out")
    page = Page(tmp_path / "out" / "compare.html")
    page.check_alone()
    assert ["seed", "0", "7"] in [cells for _, cells in page.rows]
    assert len(page.pictures) == 6
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_runs_of_different_tasks_are_refused_in_one_line(runs, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(make_config(LagTask.fields).to_json())
    with pytest.raises(UserError, match=r"other is a run of the task lag .*, .* of seq2seq .*; only runs of the same"):
        compare([runs[0], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_run_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="needs two work directories"):
        compare(runs[:1], tmp_path / "out")
