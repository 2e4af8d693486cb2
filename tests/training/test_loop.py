import io
import json
import logging
import math
import os
import shutil
import signal
import sys

import jax
import matplotlib.figure
import numpy as np
import pytest
from flax import nnx

from rnnlab.tasks.seq2seq import samples
from rnnlab.tasks.seq2seq.samples import _draw_attention
from rnnlab.training import report
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.loop import Training, train
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.plots import plot_curves
from rnnlab.training.programs import Programs
from rnnlab.training.report import best_params
from rnnlab.training.reporting import read_metrics
from rnnlab.training.signals import Interrupted
from rnnlab.training.step import TrainState, split_model
from rnnlab.training.workdir import create_task, open_task
from tests import nightly, scripted, tiny
from tests.runs import evaluate, predict
from tests.scripted import scored, steps


def _killed_at(data, workdir, step: int) -> int:
    """Starts a run and kills it when it has logged a step; returns its exit status."""
    process = tiny.train(data, workdir, "--config.data.buckets=2")
    next(line for line in process.stderr if f"step {step:>6}  train" in line)
    process.kill()
    process.communicate()
    return process.returncode


def _asked_at(step: int, run: Training) -> None:
    if run.step == step:
        os.kill(os.getpid(), signal.SIGTERM)


def _final_state(workdir) -> tuple[TrainState, dict]:
    experiment = open_task(workdir)
    _, params = split_model(experiment.make_model())
    like = TrainState.start(params, make_optimizer(experiment.config.training))
    checkpoints = Checkpoints(workdir / "checkpoints")
    restored = checkpoints.restore(like)
    checkpoints.close()
    assert restored.step == experiment.config.training.steps
    return restored.arrays, restored.record


def test_a_run_killed_and_stopped_ends_bit_identical_to_one_left_alone(
    tiny_config, tiny_data, tmp_path, capsys, monkeypatch
):
    config = tiny_config(data__buckets=2)
    train(config, tmp_path / "alone")
    out = capsys.readouterr().out.splitlines()
    assert json.loads(out[-1])["split"] == "test"
    assert "compiled train-step shapes: 2" in out[-2]

    assert _killed_at(tiny_data, tmp_path / "disturbed", 15) == -signal.SIGKILL
    with monkeypatch.context() as patched:
        advance = Training._advance
        patched.setattr(Training, "_advance", lambda run, signals: (_asked_at(30, run), advance(run, signals)))
        with pytest.raises(Interrupted, match="stopped by SIGTERM; the same command resumes from here"):
            train(config, tmp_path / "disturbed")
    train(config, tmp_path / "disturbed")
    assert capsys.readouterr().out.splitlines()[-1] == out[-1]
    plot_curves(open_task(tmp_path / "disturbed"))
    assert (tmp_path / "disturbed" / "curves.png").exists()

    (alone, record), (disturbed, other_record) = (_final_state(tmp_path / name) for name in ("alone", "disturbed"))
    assert record == other_record
    jax.tree.map(np.testing.assert_array_equal, alone, disturbed)  # step, parameters and optimizer
    rows = [
        [row for row in read_metrics(tmp_path / name) if row["name"] != "tokens_per_second" and row["split"] != "train"]
        for name in ("alone", "disturbed")
    ]
    assert rows[0] == rows[1]


@pytest.mark.nightly
def test_a_run_whose_steps_are_raised_within_its_schedule_ends_bit_identical_to_one_left_alone(tiny_config, tmp_path):
    train(tiny_config(training__schedule_steps=40), tmp_path / "alone")
    for number in (20, 40):
        train(tiny_config(training__steps=number, training__schedule_steps=40), tmp_path / "raised")
    jax.tree.map(np.testing.assert_array_equal, *(_final_state(tmp_path / name)[0] for name in ("alone", "raised")))


def test_a_run_without_a_new_best_ends_when_its_patience_does(tiny_config, tmp_path, capsys):
    config = tiny_config(training__learning_rate=1e-12, training__patience=2, training__evaluate_every=5)
    train(config, tmp_path)
    assert "best step 5 of 15" in capsys.readouterr().out
    assert {int(row["step"]) for row in read_metrics(tmp_path) if row["split"] == "validation"} == {5, 10, 15}


@pytest.mark.nightly
@pytest.mark.parametrize("cells", [("gru", "rnn"), ("rnn_relu", "lstm")])
def test_another_pair_of_cells_needs_no_other_change(tiny_config, tmp_path, capsys, cells):
    config = tiny_config(model__encoder__cell=cells[0], model__decoder__cell=cells[1], training__steps=10)
    train(config, tmp_path)
    assert np.isfinite(json.loads(capsys.readouterr().out.splitlines()[-1])["loss"])


def test_the_running_statistics_of_batch_norms_are_not_counted_as_parameters(tiny_config, tmp_path, capsys):
    config = tiny_config(model__encoder__block="prenorm", model__encoder__norm="batch")
    task = create_task(config, tmp_path / "w")
    with Training(task, Programs(task)):
        pass
    size = sum(value.size for value in jax.tree.leaves(nnx.state(task.make_model(), nnx.Param)))
    assert f" {size:,} parameters; from the start" in capsys.readouterr().err


def test_every_log_line_has_what_a_curve_needs(trained):
    names = {row["name"] for row in read_metrics(trained) if row["split"] == "train"}
    assert names == {
        "loss",
        "gradient_norm",
        "gradient_norm_max",
        "clipped",
        "skipped",
        "learning_rate",
        "tokens_per_second",
        "padding",
    }
    losses = [float(r["value"]) for r in read_metrics(trained) if r["split"] == "train" and r["name"] == "loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert os.path.getsize(trained / "metrics.csv") > 0


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [("wer", "per", 40), *nightly.only(("bleu", "wer", 20), ("wer", "per", 20), ("wer", "bleu", 20))],
)
def test_another_best_metric_decides_anew_at_the_first_evaluation(tiny_config, tmp_path, old, new, at):
    """Whichever way it grows, and whether steps are left or not: no value of one is compared with one of the other."""

    def config(metric):
        fields = {"metrics": "wer,per,bleu", "average": 3}
        made = tiny_config(training__best_metric=metric, training__evaluate_every=10, training__patience=4)
        made.evaluation.update(fields)
        return made

    good = {"wer": [30.0, 20.0, 50.0, 60.0], "per": [80.0, 80.0, 90.0, 95.0], "bleu": [40.0, 50.0, 9.0, 8.0]}
    for metric, number in ((old, at // 10), (new, 4)):
        run = scripted.train(config(metric), tmp_path, scored(good[metric][:number], metric, every=10))
    assert run.step == 40
    assert steps(tmp_path / "best") == [min(at + 10, 40)]
    assert run._selection.decision["best"] == good[new][min(at // 10, 3)]
    assert run._selection.decision["misses"] == (1 if at == 20 else 0)
    assert best_params(open_task(tmp_path))[0] == min(at + 10, 40)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("metric", "values", "best", "value", "misses"),
    [
        ("wer", [NAN, 50.0, NAN, 40.0], [4, 8], 40.0, 0),
        ("wer", [50.0, NAN, -INF, 60.0], [2], 50.0, 3),
        ("bleu", [INF, 5.0, INF, 7.0], [4, 8], 7.0, 0),
        ("perplexity", [INF, NAN, 9.0, 8.0], [6, 8], 8.0, 0),
        ("loss", [NAN, NAN, NAN, NAN], [2], None, 4),
    ],
)
def test_a_score_that_is_not_finite_is_never_best_for_longer_than_there_is_no_other(
    tiny_config, tmp_path, metric, values, best, value, misses
):
    config = tiny_config(training__best_metric=metric, training__evaluate_every=2, evaluation__average=3)
    config.evaluation.metrics = "wer,per,bleu"
    run = scripted.train(config, tmp_path, scored(values, metric, every=2))
    assert run._selection.decision == run._selection.decision | {"best": value, "misses": misses}
    assert steps(tmp_path / "best") == best  # of which `evaluation.average` takes the mean


def test_what_a_model_that_is_not_finite_happens_to_predict_is_never_best(tiny_config, tmp_path):
    def scores(step):
        if step > 4:
            raise scripted.Stopped
        return {"loss": NAN if step == 2 else 3.0, "wer": 10.0 if step == 2 else 90.0}

    run = scripted.train(tiny_config(training__evaluate_every=2), tmp_path, scores)
    assert (run._selection.decision["best"], steps(tmp_path / "best")) == (90.0, [4])


@pytest.mark.parametrize("lost", ["checkpoints", *nightly.only("checkpoints/40", "best", "best/40/arrays")])
def test_best_parameters_are_of_this_run_and_are_there(tiny_config, tmp_path, lost):
    """Those newer than the checkpoint that a run resumes from are of a run that is gone; where they are lost they are
    decided anew, at the latest when it ends."""
    config = tiny_config(training__evaluate_every=10)
    scripted.train(config, tmp_path, scored([40.0, 30.0, 20.0, 10.0], "wer", every=10))
    shutil.rmtree(tmp_path / lost)
    run = scripted.start(config, tmp_path, scored([90.0, 91.0, 92.0, 93.0], "wer", every=10))
    begun = {"checkpoints": 0, "checkpoints/40": 30}.get(lost, 40)
    kept = {"checkpoints/40": [30], "best/40/arrays": [30]}.get(lost, [])
    assert (run.step, run._selection.steps()) == (begun, kept)
    run.to_the_end()
    run.close()
    assert steps(tmp_path / "best") == {"checkpoints": [10], "checkpoints/40": [30]}.get(lost, [40])
    assert run._selection.decision["best"] == {"checkpoints": 90.0, "checkpoints/40": 20.0}.get(lost, 93.0)


@pytest.mark.parametrize(
    ("metric", "field", "value", "kept"),
    [
        ("loss", "max_tokens", 99, True),
        ("wer", "max_tokens", 99, False),
        *nightly.only(("wer", "bleu_tokenizer", "zh", True), ("wer", "beam_size", 4, True)),
        *nightly.only(("bleu", "bleu_tokenizer", "zh", False)),
    ],
)
def test_the_best_step_is_decided_anew_only_if_its_score_depends_on_what_has_changed(
    tiny_config, tmp_path, metric, field, value, kept
):
    config = tiny_config(training__best_metric=metric, training__evaluate_every=20, evaluation__metrics="wer,bleu")
    good = {"loss": [2.0, 5.0, 5.0], "wer": [2.0, 5.0, 5.0], "bleu": [5.0, 2.0, 2.0]}[metric]
    scripted.train(config, tmp_path, scored(good[:2], metric, every=20))
    config.evaluation[field] = value
    run = scripted.train(config, tmp_path, scored(good, metric, every=20))
    assert steps(tmp_path / "best") == [20 if kept else 40]
    assert run._selection.decision["best"] == good[0 if kept else 1]


@pytest.mark.nightly
def test_a_run_whose_average_is_switched_on_and_off_resumes_from_what_was_saved(tiny_config, tmp_path):
    scripted.train(tiny_config(), tmp_path, scored([50.0], "wer", every=20))  # ends after step 40, which it cannot save
    before = None
    for decay, step in ((0.0, 30), (0.9, 30), (0.0, 31), (0.5, 32)):
        run = scripted.start(tiny_config(training__average_decay=decay), tmp_path)
        assert run.step == step
        kept = run.state.params, run.state.optimizer[1], run.state.guard
        jax.tree.map(np.testing.assert_array_equal, kept, kept if before is None else before)
        jax.tree.map(np.testing.assert_array_equal, run.state.evaluated, run.state.params)  # nothing to average yet
        before = kept
        if decay or step > 30:
            run.step += 1
            run._evaluate_and_save(evaluates=False)
        run.close()
    assert not (tmp_path / "damaged").exists()
    assert steps(tmp_path / "checkpoints") == [32, 33]
    assert {int(row["step"]) for row in read_metrics(tmp_path) if row["split"] == "train"} == {1, *range(5, 31, 5)}


ODD = dict(zip("abcdefg", "$^_%é日\\", strict=True)) | dict(
    zip("ABCDEFG", ["$5^$", "x_{1", "\\frac", "100%", "é", "日本", "a" * 200], strict=True)
)


@pytest.mark.nightly
def test_tokens_that_no_terminal_and_no_formula_can_show_cost_no_result(tiny_data, tiny_config, tmp_path, monkeypatch):
    """With a stdout that encodes ASCII alone, and a picture that cannot be saved: results come first, texts escaped."""
    config, names, seen = tiny_config(evaluation__samples=10), {}, []
    for split in tiny.SPLITS:
        text = (tiny_data / f"{split}.tsv").read_text()
        names[split] = str(tmp_path / f"{split}.tsv")
        (tmp_path / f"{split}.tsv").write_text("".join(ODD.get(c, c) for c in text), encoding="utf-8")
    config.data.update({"files": names, "prepared": str(tmp_path / "tfds")})
    draw = matplotlib.figure.Figure.savefig

    def save(figure, path, **options):
        assert (tmp_path / "w" / "result.json").exists() or "line" in path.name
        seen.append(path.name)
        if path.name == "attention_1.png":
            raise OSError(28, "No space left on device")
        draw(figure, path, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", save)
    monkeypatch.setattr(report, "plot_curves", plot_curves)
    monkeypatch.setattr(samples, "_draw_attention", _draw_attention)
    warnings = []
    monkeypatch.setattr(logging.getLogger("rnnlab"), "warning", lambda text, *values: warnings.append(text % values))
    out = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", out)
    train(config, tmp_path / "w")
    lines = raw.getvalue().decode("ascii").splitlines()
    assert json.loads(lines[-1]) == json.loads((tmp_path / "w" / "result.json").read_text())
    assert sum(" -> " in line for line in lines) == config.evaluation.samples
    assert any("\\u65e5" in line for line in lines)
    failed = [warning for warning in warnings if "drawn" in warning]
    assert failed == [f"{tmp_path / 'w' / 'attention_1.png'} could not be drawn ([Errno 28] No space left on device)"]
    experiment = open_task(tmp_path / "w")
    evaluate(experiment, "validation")
    assert json.loads(raw.getvalue().decode("ascii").splitlines()[-1])["split"] == "validation"
    predict(experiment, io.BytesIO("é日\n$$$\n".encode()), answers := io.BytesIO(), attention=tmp_path / "seen")
    assert len(answers.getvalue().decode("utf-8").splitlines()) == 2
    assert seen == ["curves.png", *(f"attention_{i}.png" for i in range(4)), "line_1.png", "line_2.png"]
    assert all(path.stat().st_size > 1000 for path in (tmp_path / "seen").glob("*.png"))
