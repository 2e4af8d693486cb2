import json
import os
import signal

import jax
import numpy as np
import pytest

from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.experiment import open_experiment
from rnnlab.training.loop import train
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.reporting import read_metrics
from rnnlab.training.step import TrainState, split_model
from tests import tiny


def _stop_at(data, workdir, step: int, signum: int) -> int:
    """Starts a run and sends it a signal when it has told of a step; returns its exit status."""
    process = tiny.train(data, workdir)
    for line in process.stderr:
        if f"step {step:>6}  train" in line:
            process.send_signal(signum)
            break
    process.communicate()
    return process.returncode


def _final_state(workdir) -> tuple[TrainState, dict]:
    experiment = open_experiment(workdir)
    _, params = split_model(experiment.make_model())
    like = TrainState.start(params, make_optimizer(experiment.config.training))
    checkpoints = Checkpoints(workdir / "checkpoints")
    restored = checkpoints.restore(like)
    checkpoints.close()
    assert restored.step == experiment.config.training.steps
    return restored.arrays, restored.record


def test_a_run_killed_and_stopped_ends_bit_identical_to_one_left_alone(tiny_config, tiny_data, tmp_path, capsys):
    config = tiny_config()
    train(config, tmp_path / "alone")
    out = capsys.readouterr().out.splitlines()
    assert json.loads(out[-1])["split"] == "test"
    assert "compiled train-step shapes: 2" in out[-2]
    assert sum(" -> " in line for line in out) == config.evaluation.samples

    assert _stop_at(tiny_data, tmp_path / "disturbed", 15, signal.SIGKILL) == -signal.SIGKILL
    assert _stop_at(tiny_data, tmp_path / "disturbed", 30, signal.SIGTERM) == 128 + signal.SIGTERM
    process = tiny.train(tiny_data, tmp_path / "disturbed")
    printed, told = process.communicate()
    assert process.returncode == 0, told
    assert printed.splitlines()[-1] == out[-1]

    (alone, record), (disturbed, other_record) = (_final_state(tmp_path / name) for name in ("alone", "disturbed"))
    assert record == other_record
    jax.tree.map(np.testing.assert_array_equal, alone, disturbed)  # step, parameters and optimizer
    rows = [
        [row for row in read_metrics(tmp_path / name) if row["name"] != "tokens_per_second" and row["split"] != "train"]
        for name in ("alone", "disturbed")
    ]
    assert rows[0] == rows[1]


def test_a_run_without_a_new_best_ends_when_its_patience_does(tiny_config, tmp_path, capsys):
    config = tiny_config(training__learning_rate=1e-12, training__patience=2, training__evaluate_every=5)
    train(config, tmp_path)
    assert "best step 5 of 15" in capsys.readouterr().out
    assert {int(row["step"]) for row in read_metrics(tmp_path) if row["split"] == "validation"} == {5, 10, 15}


@pytest.mark.parametrize("cells", [("gru", "rnn"), ("rnn_relu", "lstm")], ids="-".join)
def test_another_pair_of_cells_needs_no_other_change(tiny_config, tmp_path, capsys, cells):
    config = tiny_config(model__encoder__cell=cells[0], model__decoder__cell=cells[1], training__steps=10)
    train(config, tmp_path)
    assert np.isfinite(json.loads(capsys.readouterr().out.splitlines()[-1])["loss"])


def test_every_log_line_has_what_a_curve_needs(trained):
    names = {row["name"] for row in read_metrics(trained) if row["split"] == "train"}
    assert names == {"loss", "gradient_norm", "clipped", "skipped", "learning_rate", "tokens_per_second", "padding"}
    losses = [float(r["value"]) for r in read_metrics(trained) if r["split"] == "train" and r["name"] == "loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert os.path.getsize(trained / "metrics.csv") > 0
