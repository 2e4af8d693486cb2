import csv
import re
import signal

import jax
import numpy as np
import pytest

from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.training.devices import Devices
from rnnlab.training.distributed import join
from rnnlab.training.loop import train
from rnnlab.training.placing import fetch
from tests import tiny

STEADY = ("--config.training.schedule=constant", "--config.training.checkpoint_every=10", "--config.training.spike=9")
SPLIT = ("--config.training.model_parallel=2", "--config.training.shard_optimizer=true")


def _finished(*processes) -> list[str]:
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return said


def _losses(folder) -> dict[tuple[int, str], float]:
    rows = csv.DictReader((folder / "metrics.csv").open())
    return {(int(row["step"]), row["split"]): float(row["value"]) for row in rows if row["name"] == "loss"}


@pytest.mark.nightly
@pytest.mark.parametrize(("devices", "processes"), [(4, 1), (8, 2)])
def test_a_run_that_continues_over_other_devices_and_processes_has_the_losses_of_one_left_alone(
    tiny_config, tiny_data, tmp_path, devices, processes
):
    config = tiny_config(training__schedule="constant", training__checkpoint_every=10, training__spike=9.0)
    train(config, tmp_path / "alone")
    steps = "--config.training.steps={}".format
    moved = tmp_path / "moved"
    _finished(tiny.train(tiny_data, moved, *STEADY, steps(20), *SPLIT, devices=devices))
    if processes > 1:
        _finished(*tiny.train_together(tiny_data, moved, *STEADY, SPLIT[1], steps(30), processes=processes))
        assert (moved / "process_1" / "checkpoints" / "30").exists()  # its part
        assert _losses(moved / "process_1")[30, "train"] == _losses(moved)[30, "train"]
    train(config, moved)
    alone, losses = _losses(tmp_path / "alone"), _losses(moved)
    assert len(alone) == 11  # eight log lines, that of the first step, two evaluations
    for at, loss in alone.items():
        assert losses[at] == pytest.approx(loss, abs=1e-5), at


@pytest.mark.nightly
def test_a_process_that_is_killed_is_named_and_the_rest_ends(tiny_data, tmp_path):
    first, second = tiny.train_together(tiny_data, tmp_path, "--config.training.steps=100000", processes=2)
    next(line for line in first.stderr if re.search(r"step +20 ", line))
    second.kill()
    second.communicate()
    said = first.communicate(timeout=60)[1]
    assert first.returncode == 1
    assert "error: process 1 of 2 is lost" in said.splitlines()[-1]


@pytest.mark.nightly
def test_a_signal_to_one_process_stops_all_after_the_same_step(tiny_data, tmp_path):
    first, second = tiny.train_together(tiny_data, tmp_path, "--config.training.steps=100000", processes=2)
    next(line for line in first.stderr if re.search(r"step +20 ", line))
    second.send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [128 + signal.SIGTERM] * 2, "\n".join(said)


def test_a_state_that_was_placed_comes_back_whole():
    if jax.device_count() > 1:
        pytest.skip("written for one device")
    devices = Devices(default_config().training)
    state = {"embedding": np.arange(6.0).reshape(3, 2), "R": np.ones((2, 4))}
    placed = devices.place(state)
    jax.tree.map(np.testing.assert_array_equal, fetch(devices.replicate(placed)), state)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"model_parallel": 2}, "2 does not divide the number of devices, 1"), ({"model_parallel": 3}, "3 does not")],
)
def test_devices_that_cannot_share_are_refused(fields, message):
    config = default_config()
    config.training.update(fields)
    with pytest.raises(UserError, match=message):
        Devices(config.training)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, 2, 0), "--processes: several processes need all of --coordinator, --processes, --process"),
        (("localhost:1", 2, 2), "--process: 2 is not one of --processes=2, which count from 0"),
    ],
)
def test_flags_of_processes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        join(*arguments)


@pytest.mark.parametrize(
    ("environment", "joins"),
    [
        ({}, False),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, True),
        ({"TPU_WORKER_HOSTNAMES": "a"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
    ],
)
def test_processes_that_a_launcher_started_join_by_its_environment(monkeypatch, environment, joins):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *given, **waits: calls.append(given))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    join(None, None, None)
    assert calls == ([(None, None, None)] if joins else [])
