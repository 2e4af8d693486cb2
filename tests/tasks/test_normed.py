"""Running statistics of batch norm: over a stop, and over several devices."""

import numpy as np

from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.loop import Training, train
from rnnlab.training.programs import Programs
from rnnlab.training.workdir import create_task
from tests import tiny
from tests.tasks import normed


def _left(config, workdir):
    """The parameters that the last checkpoint of a run has."""
    task = create_task(config, workdir)
    with Training(task, Programs(task)) as run:
        return Checkpoints(workdir / "checkpoints", reading=True).restore(run.state).arrays.params


def test_statistics_are_resumed_bit_for_bit_and_are_those_of_all_devices_together(tmp_path):
    config = normed.get_config()
    train(config, tmp_path / "alone")
    short = normed.get_config()
    short.training.steps = 6
    train(short, tmp_path / "stopped")
    train(config, tmp_path / "stopped")
    flags = ["--config=tests/tasks/normed.py", f"--workdir={tmp_path / 'two'}"]
    process = tiny.launch(*flags, devices=2)
    _, told = process.communicate()
    assert process.returncode == 0, told
    alone, stopped, two = (_left(config, tmp_path / name) for name in ("alone", "stopped", "two"))
    statistics = [name for name in alone if name.endswith(("norm/mean", "norm/var"))]
    assert len(statistics) == 6  # of two blocks and what stands after them
    for name in alone:
        np.testing.assert_array_equal(stopped[name], alone[name])
        np.testing.assert_allclose(two[name], alone[name], rtol=1e-4, atol=1e-5)
    assert all(np.abs(alone[name] - name.endswith("var")).min() > 0 for name in statistics)
