"""Running statistics of batch norm: over a stop, and over several devices."""

import numpy as np
import pytest

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


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The parameters of a run on one device that was left alone."""
    workdir = tmp_path_factory.mktemp("alone")
    train(normed.get_config(), workdir)
    return _left(normed.get_config(), workdir)


@pytest.mark.nightly
def test_statistics_are_resumed_bit_for_bit(alone, tmp_path):
    config, short = normed.get_config(), normed.get_config()
    short.training.steps = 6
    train(short, tmp_path)
    train(config, tmp_path)
    stopped = _left(config, tmp_path)
    statistics = [name for name in alone if name.endswith(("norm/mean", "norm/var"))]
    assert len(statistics) == 6  # of two blocks and what stands after them
    assert all(np.abs(alone[name] - name.endswith("var")).min() > 0 for name in statistics)
    for name in alone:
        np.testing.assert_array_equal(stopped[name], alone[name])


@pytest.mark.nightly
def test_statistics_are_those_of_all_devices_together(alone, tmp_path):
    flags = ["--config=tests/tasks/normed.py", f"--workdir={tmp_path}"]
    process = tiny.launch(*flags, devices=2)
    _, told = process.communicate()
    assert process.returncode == 0, told
    two = _left(normed.get_config(), tmp_path)
    for name in alone:
        np.testing.assert_allclose(two[name], alone[name], rtol=1e-4, atol=1e-5)
