"""Several steps in one call, programs that runs share, and runs that keep few checkpoints or end early."""

import os
import signal
import sys

import jax
import numpy as np
import pytest

from rnnlab.errors import UserError
from rnnlab.tasks import find_task
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.loop import Training, train
from rnnlab.training.programs import Programs
from rnnlab.training.reporting import read_metrics
from rnnlab.training.signals import Interrupted
from rnnlab.training.workdir import create_task
from tests import nightly, scripted
from tests.tasks import carrying, counting

SHORT = {"steps": 40, "log_every": 10, "evaluate_every": 20, "checkpoint_every": 10, "measure_every": 0}


def _config(source=counting, **training):
    config = source.get_config()
    config.training.update(SHORT | training)
    return config


def _trained(config, workdir, programs=None) -> Training:
    task = create_task(config, workdir)
    with Training(task, Programs(task) if programs is None else programs) as training:
        training.to_the_end()
    return training


def _rows(workdir) -> list[float]:
    """What is logged every ten steps, but for the speed."""
    rows = [r for r in read_metrics(workdir) if int(r["step"]) % 10 == 0]
    return [float(r["value"]) for r in rows if not r["name"].endswith("per_second")]


def _assert_close(found, wanted) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), found, wanted)


@pytest.fixture
def counting_code():
    """The module that the config of the counting task names, which is not the one that tests import."""
    return sys.modules[find_task(counting.get_config().experiment).__module__]


@pytest.mark.parametrize("source", [carrying, *nightly.only(counting)])
def test_several_steps_in_one_call_are_those_of_as_many_calls(tmp_path, source):
    """Their parameters, and what is logged of each of them."""
    found = [_trained(_config(source, steps_per_call=n), tmp_path / f"{n}") for n in (1, 5, 10)]
    assert len(found[1].shapes) == 1
    for other, folder in zip(found[1:], ("5", "10"), strict=True):
        _assert_close(other.state.params, found[0].state.params)
        np.testing.assert_allclose(_rows(tmp_path / folder), _rows(tmp_path / "1"), rtol=2e-3, atol=1e-4)


@pytest.mark.nightly
def test_batches_of_many_shapes_come_alike_within_a_call(tiny_config, tmp_path, capsys):
    """Stopped between two calls, the run resumes bit for bit."""
    fields = {
        "training__steps_per_call": 5,
        "training__steps": 20,
        "training__schedule": "constant",
        "data__buckets": 2,
    }
    whole = _trained(tiny_config(**fields), tmp_path / "whole")
    assert len({shape[0] for shape in whole.shapes}) == 2  # length buckets
    assert {shape[0][0] for shape in whole.shapes} == {5}
    _trained(tiny_config(**fields | {"training__steps": 10}), tmp_path / "stopped")
    resumed = _trained(tiny_config(**fields), tmp_path / "stopped")
    jax.tree.map(np.testing.assert_array_equal, resumed.state, whole.state)


def test_steps_that_do_not_count_are_skipped_one_by_one_within_a_call(tmp_path, monkeypatch, counting_code):
    bad = {7, 8, 23}

    class Poisoned(counting_code.Batches):
        def __next__(self):
            ids, lengths, labels = super().__next__()
            weights = np.full(len(labels), np.nan if self._number in bad else 1.0, np.float32)
            return ids, lengths, labels, weights

    loss = counting_code.Counting.loss

    def weighted(self, model, batch, carry, **options):
        found = loss(self, model, batch[:3], carry, **options)
        return found._replace(total=found.total * batch[3].mean())

    monkeypatch.setattr(counting_code, "Batches", Poisoned)
    monkeypatch.setattr(counting_code.Counting, "loss", weighted)
    runs = [_trained(_config(steps_per_call=n, patience=9), tmp_path / f"{n}") for n in (1, 10)]
    _assert_close(*(run.state.params for run in runs))
    skipped = [(int(r["step"]), float(r["value"])) for r in read_metrics(tmp_path / "10") if r["name"] == "skipped"]
    assert skipped == [(10, 2), (20, 0), (30, 1), (40, 0)]


@pytest.mark.parametrize("name", ["steps", "log_every", "evaluate_every", "checkpoint_every", "measure_every"])
def test_an_interval_that_ends_within_a_call_is_refused(tmp_path, name):
    config = _config(steps_per_call=10, **{name: 15})
    with pytest.raises(UserError, match=rf"config\.training\.{name}: 15 is not a multiple of .*steps_per_call=10"):
        create_task(config, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_batches_of_one_call_that_differ_in_shape_are_told(tmp_path, monkeypatch, counting_code):
    plain = counting_code.Batches.__next__

    def uneven(self):
        return tuple(part[..., : -(self._number % 2) or None] for part in plain(self))

    monkeypatch.setattr(counting_code.Batches, "__next__", uneven)
    with pytest.raises(UserError, match=r"steps_per_call: 5 consecutive batches must have the same shapes"):
        _trained(_config(steps_per_call=5), tmp_path)


def test_runs_that_differ_in_their_seed_share_programs_and_nothing_else(tmp_path, monkeypatch):
    task = create_task(_config(), tmp_path / "first")
    loss, traced = type(task).loss, []
    monkeypatch.setattr(type(task), "loss", lambda *args, **how: traced.append(how) or loss(*args, **how))
    programs = Programs(task)
    for seed in (0, 3):
        config = _config()
        config.seed = seed
        before = len(traced)
        shared = _trained(config, tmp_path / f"shared{seed}", programs)
        assert (len(traced) > before) == (seed == 0)  # the second run compiles nothing
        alone = _trained(config, tmp_path / f"alone{seed}")
        jax.tree.map(np.testing.assert_array_equal, shared.state, alone.state)


def test_a_run_ends_at_its_threshold_and_stays_ended(tmp_path):
    """That of a metric of which less is better; it ends at the first evaluation that reaches it."""
    config = _config(stopping_threshold=30.0)
    scores = scripted.scored([70.0, 30.0, 20.0], "error", every=10)
    config.training.evaluate_every = 10
    run = scripted.train(config, tmp_path, scores, compiled="calls")
    assert run.step == 20
    assert scripted.train(config, tmp_path, scores, compiled="calls").step == 20
    config.training.stopping_threshold = 0.0
    assert scripted.train(config, tmp_path, scores, compiled="calls").step == 40


def test_without_checkpoints_on_the_way_a_run_leaves_its_last_state_and_its_best_parameters(tmp_path):
    config = _config(checkpoint_every=0, evaluate_every=10)
    scores = scripted.scored([70.0, 30.0, 50.0, 60.0], "error", every=10)
    run = scripted.train(config, tmp_path, scores, compiled="calls")
    assert scripted.steps(tmp_path / "checkpoints") == [40]
    assert 20 in scripted.steps(tmp_path / "best")
    store = Checkpoints(tmp_path / "checkpoints", reading=True)
    jax.tree.map(np.testing.assert_array_equal, store.restore(run.state).arrays, jax.device_get(run.state))


def test_without_checkpoints_on_the_way_a_run_that_is_asked_to_stop_saves_itself(tmp_path):
    config = _config(checkpoint_every=0, evaluate_every=20)

    def scores(step):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"loss": 1.0, "error": 50.0}

    with pytest.raises(Interrupted, match="resumes from here"):
        scripted.train(config, tmp_path, scores, compiled="calls")
    at = scripted.steps(tmp_path / "checkpoints")
    assert len(at) == 1
    train(config, tmp_path)
    train(config, tmp_path / "alone")
    states = [Checkpoints(f / "checkpoints", reading=True)._read(40)[0] for f in (tmp_path, tmp_path / "alone")]
    jax.tree.map(np.testing.assert_array_equal, *states)
