"""What a task carries from one batch to the next: over a stop, and over several devices."""

import jax
import numpy as np

from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.loop import Training, train
from rnnlab.training.programs import Programs
from rnnlab.training.reporting import read_metrics
from rnnlab.training.workdir import create_task
from tests import tiny
from tests.tasks import carrying


def _carried(workdir) -> list[float]:
    """Means of five steps; the first step has a line of its own."""
    rows = [row for row in read_metrics(workdir) if row["name"] == "carried"]
    return [float(row["value"]) for row in rows if int(row["step"]) % 5 == 0]


def _last(run, workdir):
    store = Checkpoints(workdir / "checkpoints", reading=True)
    return store.restore(run.state).arrays


def test_a_state_is_carried_saved_and_resumed(tmp_path):
    config = carrying.get_config()
    train(config, tmp_path / "alone")
    short = carrying.get_config()
    short.training.steps = 10
    train(short, tmp_path / "stopped")
    train(config, tmp_path / "stopped")
    task = create_task(config, tmp_path / "alone")
    with Training(task, Programs(task)) as run:
        pass
    alone, stopped = (_last(run, tmp_path / name) for name in ("alone", "stopped"))
    jax.tree.map(np.testing.assert_array_equal, alone, stopped)
    assert np.abs(alone.carry[0][0]).min() > 0  # of every sequence and unit
    carried = _carried(tmp_path / "alone")
    assert len(carried) == 4
    assert carried == _carried(tmp_path / "stopped")
    assert carried[0] != 0


def test_a_state_that_is_carried_is_split_over_devices_as_batches_are(tmp_path):
    """With several steps in a call, beside a single device with one."""
    flags = ["--config=tests/tasks/carrying.py", f"--workdir={tmp_path / 'eight'}"]
    flags.append("--config.training.steps_per_call=5")
    process = tiny.launch(*flags, devices=8)
    _, told = process.communicate()
    assert process.returncode == 0, told
    train(carrying.get_config(), tmp_path / "one")
    np.testing.assert_allclose(_carried(tmp_path / "eight"), _carried(tmp_path / "one"), atol=1e-5)
