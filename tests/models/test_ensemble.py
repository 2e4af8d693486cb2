import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close, draw_module, run_module

from rnnlab.models import Ensemble, Seq2Seq
from rnnlab.search import SpecialTokens
from rnnlab.tasks.seq2seq.decode import decode
from tests import nightly

SPECIAL = SpecialTokens(bos=1, eos=2, pad=0)
SOURCE, LENGTHS = jnp.array([[4, 5], [6, 4], [5, 0]]), jnp.array([3, 2])
LIMITS = jnp.array([16, 14])
TARGETS = jnp.array([[1, 1], [4, 6], [5, 3]])


_decode = nnx.jit(decode, static_argnames=("special", "max_length", "beam_size"))


def _model(seed: int, cell: str, attention: str) -> Seq2Seq:
    side = {"embedding": 4, "features": 6, "cell": cell}
    return draw_module(
        lambda: Seq2Seq(8, 9, encoder=side, decoder=side, attention=attention, rngs=nnx.Rngs(seed)), seed
    )


@pytest.fixture(scope="module")
def models() -> list[Seq2Seq]:
    kinds = [("lstm", "general"), ("gru", "additive"), ("rnn", "none"), ("gru", "monotonic")]
    return [_model(seed, *kind) for seed, kind in enumerate(kinds)]


def _mean_probabilities(models, targets=TARGETS, source=SOURCE, lengths=LENGTHS) -> np.ndarray:
    logits = [np.asarray(run_module(model, source, lengths, targets), np.float64) for model in models]
    return np.mean([np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in logits], axis=0)


def test_its_logits_are_the_logs_of_the_mean_probabilities(models):
    assert_close(np.exp(run_module(Ensemble(models), SOURCE, LENGTHS, TARGETS)), _mean_probabilities(models), 1e-5)


def test_step_by_step_it_says_what_it_says_of_a_whole_target(models):
    ensemble = Ensemble(models)
    states, memory = nnx.jit(Ensemble.encode)(ensemble, SOURCE, LENGTHS)
    logits, step = [], nnx.jit(Ensemble.step)
    for tokens in TARGETS:
        states, (found, _) = step(ensemble, states, tokens, memory)
        logits.append(found)
    assert_close(jnp.stack(logits), run_module(ensemble, SOURCE, LENGTHS, TARGETS), 1e-5)


@pytest.mark.parametrize("beam_size", [*nightly.only(1), 3])
def test_a_search_scores_its_outputs_by_the_mean_probabilities(models, beam_size):
    found = _decode(Ensemble(models), SOURCE, LENGTHS, LIMITS, special=SPECIAL, max_length=20, beam_size=beam_size)
    for row in range(2):
        said = [int(t) for t in found.tokens[row, 0] if t != SPECIAL.pad]
        inputs = jnp.array([SPECIAL.bos, *said[:-1]])[:, None]
        column = SOURCE[: int(LENGTHS[row]), row : row + 1], LENGTHS[row : row + 1]
        p = _mean_probabilities(models, inputs, *column)[:, 0]
        p[:, [SPECIAL.bos, SPECIAL.pad]] = 0  # a search says neither
        p /= p.sum(-1, keepdims=True)
        assert float(found.scores[row, 0]) == pytest.approx(np.log(p[np.arange(len(said)), said]).sum(), rel=1e-4)


def test_one_model_twice_is_that_model(models):
    alone, twice = (
        _decode(m, SOURCE, LENGTHS, LIMITS, special=SPECIAL, max_length=20, beam_size=2)
        for m in (models[0], Ensemble([models[0]] * 2))
    )
    np.testing.assert_array_equal(alone.tokens, twice.tokens)
    assert_close(jax.tree.leaves(alone.scores), jax.tree.leaves(twice.scores), 1e-5)
