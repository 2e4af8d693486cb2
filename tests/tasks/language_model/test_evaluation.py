"""Scores of whole texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from rnnlab.run import load
from rnnlab.tasks.language_model.evaluation import Evaluator
from rnnlab.training.step import split_model


@pytest.fixture(scope="module")
def run(learnt):
    return load(learnt)


def _with(run, **options):
    task, _ = run._with(options)
    return task


def _inputs(task, ids):
    return np.array([task.vocabulary.encode("\n")[0], *ids[:-1]], np.int32)


def _read_whole(run, ids) -> np.ndarray:
    """-log p of every token, read in one piece after a line break."""
    logits = run.model(jnp.asarray(_inputs(run.task, ids))[:, None], run.model.start(1)).logits[:, 0]
    return -np.take_along_axis(scipy.special.log_softmax(np.asarray(logits, np.float64), -1), ids[:, None], -1)[:, 0]


@pytest.mark.parametrize("longest", [1, 7, 64, 10_000])
def test_a_text_in_pieces_has_the_loss_of_the_whole(run, longest):
    ids = run.task.encoded("test").ids[:700]
    found = Evaluator(run.task, final=True, longest=longest).nats(run.params, ids)
    assert found / 700 == pytest.approx(_read_whole(run, ids).mean(), abs=1e-5)


def test_the_scores_are_those_of_every_token_and_character(run):
    scores = run.scores("test")
    nats = _read_whole(run, run.task.encoded("test").ids)
    assert scores["loss"] == pytest.approx(nats.mean(), abs=1e-5)
    assert scores["perplexity"] == pytest.approx(np.exp(nats.mean()), rel=1e-4)
    assert scores["tokens"] == scores["characters"] == len(nats)
    assert scores["bits_per_character"] == pytest.approx(nats.sum() / np.log(2) / len(nats), abs=1e-4)


@pytest.mark.parametrize(("streams", "warmup"), [(5, 40), (3, 100), (7, 0)])
def test_warmed_up_streams_predict_each_token_once_as_one_stream_nearly_does(run, streams, warmup):
    """Exactly: each stream is read from an initial state, `warmup` tokens before what it scores."""
    ids, model = run.task.encoded("test").ids[:997], run.model
    task = _with(run, streams=streams, warmup=warmup)
    found = Evaluator(task, final=True, longest=32).nats(run.params, ids)
    steps, wanted = -(-997 // streams), 0.0
    inputs = _inputs(task, ids)
    for begin in range(0, 997, steps):
        first = max(0, begin - warmup)
        part = slice(first, min(begin + steps, 997))
        logits = model(jnp.asarray(inputs[part])[:, None], model.start(1)).logits[begin - first :, 0]
        labels = ids[begin : begin + steps]
        wanted -= np.take_along_axis(scipy.special.log_softmax(np.asarray(logits), -1), labels[:, None], -1).sum()
    assert found == pytest.approx(wanted, rel=1e-5)
    if warmup >= 40:
        assert found / 997 == pytest.approx(_read_whole(run, ids).mean(), abs=2e-3)


def test_dynamic_evaluation_is_gradient_descent_on_what_was_read_with_decay_to_what_was_trained(run):
    ids, rate, decay, size = run.task.encoded("test").ids[:100], 0.05, 0.1, 9
    task = _with(run, dynamic_rate=rate, dynamic_decay=decay, dynamic_steps=size)
    found = Evaluator(task, final=True).dynamic_nats(run.params, ids)
    merge, trained = split_model(run.model)
    inputs, params, states, nats = _inputs(task, ids), dict(run.params), run.model.start(1), 0.0
    for begin in range(0, 100, size):
        part = slice(begin, begin + size)

        def mean(params, part=part, states=states):
            read = merge(params)(jnp.asarray(inputs[part])[:, None], states)
            log_p = jax.nn.log_softmax(read.logits[:, 0])
            return -jnp.take_along_axis(log_p, jnp.asarray(ids[part])[:, None], -1).mean(), read.states

        (value, states), gradients = jax.value_and_grad(mean, has_aux=True)(params)
        nats += float(value) * len(ids[part])
        params = {n: p - rate * gradients[n] + decay * (run.params[n] - p) for n, p in params.items()}
    assert found == pytest.approx(nats, rel=1e-5)
    scores = task.evaluator(final=True)(run.params, "test")
    assert scores["loss"] != pytest.approx(run.scores("test")["loss"], abs=1e-4)
    assert task.evaluator(final=False)(run.params, "test")["loss"] == pytest.approx(
        run.scores("test")["loss"], abs=2e-3
    )
    assert trained.keys() == run.params.keys()
