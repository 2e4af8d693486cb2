import itertools
import json
import logging
import os
import re
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnnlab.data.batch import Batch
from rnnlab.data.pipeline import training_batches
from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq import task
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.training import loop
from rnnlab.training.guard import Guard
from rnnlab.training.reporting import read_metrics
from rnnlab.training.signals import Interrupted
from rnnlab.training.step import TrainState, make_train_step
from rnnlab.training.workdir import open_task
from tests import nightly, scripted
from tests.runs import Poisonable, loss_of
from tests.scripted import steps

SEED = jnp.uint32(0)
BATCH = Batch(np.ones((1, 2), int), np.ones(2, int), np.zeros((1, 2), int), np.ones((1, 2), int), np.ones(2, int))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_step_that_is_not_finite_changes_nothing_but_its_number(poison):
    def merge(params):
        return Poisonable(params["w"], poison)

    optimizer = optax.adam(0.1)
    config = default_config()
    step = make_train_step(loss_of(config), merge, optimizer, config.training)
    state, metrics = step(TrainState.start({"w": jnp.arange(3.0)}, optimizer), BATCH, SEED)
    before = jax.tree.map(np.array, state)
    assert int(metrics.skipped) == 0
    for number in (1, 2):
        state, metrics = step(state, BATCH._replace(source=2 * BATCH.source), SEED)
        assert int(metrics.skipped) == number
        jax.tree.map(np.testing.assert_array_equal, (state.params, state.optimizer), before[1:3])
        assert int(state.step) == 1 + number
    state, metrics = step(state, BATCH, SEED)
    assert int(metrics.skipped) == 0
    assert np.all(state.params["w"] != before.params["w"])


def test_a_loss_far_above_the_mean_of_those_before_is_a_spike_once_that_mean_is_known():
    losses = np.random.default_rng(0).uniform(1, 2, 80)
    losses[[10, 70]] = 9.0
    guard, counted = Guard.start(), []
    for loss in losses:
        counts, guard = guard.judge(jnp.float32(loss), jnp.float32(1), spike=3.0)
        counted.append(bool(counts))
    assert [i for i, counts in enumerate(counted) if not counts] == [70]
    kept = np.delete(losses, 70)
    weights = 0.98 ** np.arange(len(kept))[::-1]
    np.testing.assert_allclose(guard.summed / guard.weight, kept @ weights / weights.sum(), rtol=1e-5)


@pytest.fixture
def poison(monkeypatch):
    """`poison(bad)`: batches of a run for which `bad(seed of their order, their number)` have a loss of 0 / 0; it
    returns a list that gets them as they were."""

    poisoned = []

    def put(bad):
        class Poisoned:
            def __init__(self, *args, seed, **options):
                self.inner, self.seed, self.number = iter(training_batches(*args, seed=seed, **options)), seed, 0

            def __iter__(self):
                return self

            def __next__(self):
                batch, self.number = next(self.inner), self.number + 1
                if not bad(self.seed, self.number):
                    return batch
                poisoned.append(batch)
                return batch._replace(target_lengths=np.zeros_like(batch.target_lengths))

            def get_state(self):
                return {"inner": self.inner.get_state(), "number": self.number}

            def set_state(self, state):
                self.inner.set_state(state["inner"])
                self.number = state["number"]

            rows = property(lambda self: self.inner.rows)

        monkeypatch.setattr(task, "training_batches", Poisoned)
        monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
        return poisoned

    return put


def _skipped(workdir) -> float:
    return sum(float(row["value"]) for row in read_metrics(workdir) if row["name"] == "skipped")


def test_poisoned_batches_are_skipped_counted_and_named_and_the_rest_is_finite(
    poison, tiny_config, tiny_data, tmp_path, capsys, caplog
):
    poisoned = poison(lambda seed, number: number in (7, 8, 31))
    with caplog.at_level(logging.INFO, logger="rnnlab"):
        loop.train(tiny_config(), tmp_path)
    assert "source vocabulary: 7 tokens; unknown: 0.00% of train, 0.00% of validation" in caplog.text
    assert np.isfinite(json.loads(capsys.readouterr().out.splitlines()[-1])["loss"])
    assert _skipped(tmp_path) == 3
    assert all(np.isfinite(float(row["value"])) for row in read_metrics(tmp_path))
    assert "step 8 skipped (2 in a row): loss nan, gradient norm 0, training examples" in caplog.text
    lines = (tiny_data / "train.tsv").read_text().splitlines()
    named = re.findall(rf"training examples {tiny_data}/train.tsv, lines ([\d, ]+) and 24 more", caplog.text)
    assert len(named) == 3
    source = open_task(tmp_path).source
    for numbers, batch in zip(named, poisoned, strict=True):
        for column, number in enumerate(numbers.split(", ")):
            word = source.decode(batch.source[: batch.source_lengths[column], column])
            assert lines[int(number) - 1].partition("\t")[0] == word


def test_too_many_in_a_row_send_the_run_back_to_its_last_checkpoint_with_other_data(
    poison, tiny_config, tmp_path, caplog
):
    poison(lambda seed, number: seed == 0 and number > 22)
    scripted.train(tiny_config(training__most_skipped=6), tmp_path, lambda step: {"loss": 1.0, "wer": 9.0})
    assert "step 30: 6 steps in a row were skipped; back to step 20, the data in another order (1 of 3" in caplog.text
    assert _skipped(tmp_path) == 0  # the rows of the steps that were taken back are gone
    assert steps(tmp_path / "checkpoints") == [30, 40]


def test_a_run_that_never_gets_past_them_gives_up_with_a_word(poison, tiny_config, tmp_path):
    poison(lambda seed, number: number > 3)
    with pytest.raises(UserError, match=r"step 15: 10 steps in a row had a loss .* after 2 returns"):
        scripted.train(tiny_config(training__most_returns=2), tmp_path)


OFTEN = {"training__log_every": 5, "training__checkpoint_every": 5, "training__evaluate_every": 5}


@pytest.mark.parametrize("first", [*nightly.only(11, 13), 15, 16])
def test_nothing_is_saved_or_evaluated_while_steps_are_skipped(poison, tiny_config, tmp_path, first):
    """Wherever the streak begins: those saved before it stay, and the run that ends in it has no success."""
    poison(lambda seed, number: number >= first)
    with pytest.raises(UserError, match=r"10 steps in a row had a loss or gradient that is not finite"):
        scripted.train(
            tiny_config(**OFTEN, training__most_returns=0), tmp_path, lambda step: {"loss": 1.0, "wer": 100.0 - step}
        )
    wanted = [5, 10] if first <= 15 else [10, 15]
    assert steps(tmp_path / "checkpoints") == steps(tmp_path / "best") == wanted
    assert {int(row["step"]) for row in read_metrics(tmp_path) if row["split"] == "validation"} == {5, *wanted}


def test_what_was_due_while_steps_were_skipped_is_done_after_the_first_that_counts(poison, tiny_config, tmp_path):
    poison(lambda seed, number: 18 <= number <= 22 or number in (30, 40))
    config = tiny_config(training__log_every=1)
    run = scripted.train(config, tmp_path, lambda step: {"loss": 1.0, "wer": 50.0})
    rows = {(int(row["step"]), row["split"], row["name"]): float(row["value"]) for row in read_metrics(tmp_path)}
    assert [step for step, split, name in rows if (split, name) == ("validation", "wer")] == [23, 40]
    assert (run.step, run._returns) == (40, 1)  # step 40 was skipped at first, so that it went back to step 31
    assert steps(tmp_path / "checkpoints") == [31, 40]
    # the learning rate is that of the steps that counted: a skipped one uses none up
    schedule = optax.cosine_onecycle_schedule(40, config.training.learning_rate)
    used = itertools.count()
    for step in range(1, 41):
        if (step, "train", "loss") in rows:
            assert rows[step, "train", "learning_rate"] == pytest.approx(float(schedule(next(used))), rel=1e-5)
    assert next(used) == 34


@pytest.mark.parametrize("at", [20, *nightly.only(23)])
def test_a_checkpoint_after_a_ruinous_step_is_passed_over_for_the_one_before(
    tiny_config, tmp_path, at, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    run = scripted.train(
        tiny_config(),
        tmp_path,
        lambda step: {"loss": 1.0, "wer": 100.0 - step},
        ruins=lambda run: run.step == at - 1 and run._returns < 2,
    )
    assert run.step == 40
    assert all(np.all(np.isfinite(value)) for value in jax.tree.leaves(run.state.params))
    assert steps(tmp_path / "checkpoints") == [30, 40]
    where = ["20", "10"] if at == 20 else ["20", "20"]
    assert [
        message.split("back to step ")[1].split(",")[0] for message in caplog.messages if "back to" in message
    ] == where


def test_a_run_that_ends_while_steps_are_skipped_gives_up_without_a_result(poison, tiny_config, tmp_path):
    poison(lambda seed, number: number == 40)
    with pytest.raises(UserError, match=r"step 40: 1 step in a row .* after 0 returns"):
        loop.train(tiny_config(training__most_returns=0), tmp_path)
    assert not (tmp_path / "result.json").exists()
    assert steps(tmp_path / "checkpoints") == [20, 30]


def test_a_signal_while_steps_are_skipped_saves_nothing_and_says_so(poison, tiny_config, tmp_path):
    def asks(seed, number):
        if number == 27:
            os.kill(os.getpid(), signal.SIGTERM)
        return number > 24

    poison(asks)
    with pytest.raises(Interrupted, match=r"stopped by SIGTERM; .* from the last checkpoint, as the last steps were"):
        scripted.train(tiny_config(training__log_every=50), tmp_path)
    assert steps(tmp_path / "checkpoints") == [10, 20]
