import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.models import Seq2Seq
from rnnlab.search import Penalties, SpecialTokens, beam_search, greedy, sample
from rnnlab.search.beam import coverage_penalty, length_penalty
from rnnlab.tasks.seq2seq.decode import Sampling, decode
from tests import nightly

SPECIAL = SpecialTokens(bos=1, eos=2, pad=0)
SYMBOLS = (3, 4, 5)
_decode = nnx.jit(decode, static_argnames=("special", "max_length", "beam_size", "alpha"))
LIMIT = 4
_beam_search = jax.jit(
    beam_search, static_argnames=("step", "special", "max_length", "beam_size", "penalties", "block")
)
_greedy = jax.jit(greedy, static_argnames=("step", "special", "max_length", "block"))
_sample = jax.jit(sample, static_argnames=("step", "special", "max_length", "temperature", "top_k", "top_p"))


def _chain(seed, batch):
    """A toy model: each row has logits of its own that depend on the last two tokens."""
    tables = 2 * jax.random.normal(jax.random.key(seed), (batch, 6, 6, 6))

    def step(carry, tokens):
        table, before = carry
        return (table, tokens), (table[jnp.arange(tokens.shape[0]), before, tokens], None)

    return tables, step


def _all_outputs(table, limit, alpha):
    """Every output with its score, by brute force: those that end, and those cut at the limit."""
    table = np.array(table, np.float64)
    table[..., [SPECIAL.bos, SPECIAL.pad]] = -np.inf
    log_p = table - np.log(np.exp(table).sum(-1, keepdims=True))
    scored = {}
    for length in range(1, limit + 1):
        for body in itertools.product(SYMBOLS, repeat=length - 1):
            for last in (SPECIAL.eos, *(SYMBOLS if length == limit else ())):
                total, before, now = 0.0, 0, SPECIAL.bos
                for token in (*body, last):
                    total, before, now = total + log_p[before, now, token], now, token
                scored[(*body, last)] = total / ((5 + length) / 6) ** alpha
    return sorted(scored.items(), key=lambda item: -item[1])


def _trim(tokens):
    return tuple(int(t) for t in tokens if t != SPECIAL.pad)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_beam_that_holds_everything_finds_the_best_outputs_in_order(alpha):
    tables, step = _chain(0, 3)
    limits = jnp.array([LIMIT, 2, 3])
    beam = 100
    carry = (jnp.repeat(tables, beam, axis=0), jnp.zeros(3 * beam, jnp.int32))
    found = _beam_search(
        step, carry, limits, special=SPECIAL, max_length=LIMIT, beam_size=beam, penalties=Penalties(alpha)
    )
    for row, limit in enumerate(limits):
        wanted = _all_outputs(tables[row], int(limit), alpha)
        got = [
            (_trim(t), float(s)) for t, s in zip(found.tokens[row], found.scores[row], strict=True) if np.isfinite(s)
        ]
        assert [tokens for tokens, _ in got[:10]] == [tokens for tokens, _ in wanted[:10]]
        np.testing.assert_allclose([s for _, s in got[:10]], [s for _, s in wanted[:10]], rtol=1e-5)


def _beam_by_hand(table, limit, n, alpha):
    """The n best of a beam of n that continues to the limit, whatever has ended."""
    table = np.array(table, np.float64)
    table[..., [SPECIAL.bos, SPECIAL.pad]] = -np.inf
    log_p = table - np.log(np.exp(table).sum(-1, keepdims=True))
    alive, ended = [((0, SPECIAL.bos), 0.0)], []
    for length in range(1, limit + 1):
        penalty = ((5 + length) / 6) ** alpha
        ended += [((*said, SPECIAL.eos), (total + log_p[*said[-2:], SPECIAL.eos]) / penalty) for said, total in alive]
        longer = [((*said, token), total + log_p[*said[-2:], token]) for said, total in alive for token in SYMBOLS]
        alive = sorted(longer, key=lambda item: -item[1])[:n]
    ended += [(said, total / penalty) for said, total in alive]
    return [(said[2:], score) for said, score in sorted(ended, key=lambda item: -item[1])[:n]]


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_a_narrow_beam_keeps_as_many_of_the_best_as_it_is_wide(alpha):
    tables, step = _chain(3, 16)
    options = {"special": SPECIAL, "max_length": LIMIT, "beam_size": 3, "penalties": Penalties(alpha)}
    search = jax.jit(lambda *carry: beam_search(step, carry, jnp.array([LIMIT]), **options))
    for table in tables:  # each by itself, for no row ends before all do
        found = search(jnp.repeat(table[None], 3, axis=0), jnp.zeros(3, jnp.int32))
        wanted = _beam_by_hand(table, LIMIT, 3, alpha)
        assert [_trim(tokens) for tokens in found.tokens[0]] == [said for said, _ in wanted]
        np.testing.assert_allclose(found.scores[0], [score for _, score in wanted], rtol=1e-5)


def test_greedy_takes_the_likeliest_token_of_every_step():
    tables, step = _chain(1, 8)
    found = _greedy(step, (tables, jnp.zeros(8, jnp.int32)), jnp.full(8, LIMIT), special=SPECIAL, max_length=LIMIT)
    for row in range(8):
        table, before, now, said = np.array(tables[row]), 0, SPECIAL.bos, []
        table[..., [SPECIAL.bos, SPECIAL.pad]] = -np.inf
        while now != SPECIAL.eos and len(said) < LIMIT:
            before, now = now, int(table[before, now].argmax())
            said.append(now)
        assert _trim(found.tokens[row, 0]) == tuple(said)


def test_a_beam_scores_no_worse_than_greedy():
    tables, step = _chain(2, 16)
    limits = jnp.full(16, LIMIT)
    zeros = jnp.zeros(16, jnp.int32)
    first = _greedy(step, (tables, zeros), limits, special=SPECIAL, max_length=LIMIT)
    one = _beam_search(step, (tables, zeros), limits, special=SPECIAL, max_length=LIMIT, beam_size=1)
    assert np.all(one.scores >= first.scores - 1e-5)  # it continues next to finished hypotheses
    wide = _beam_search(
        step,
        (jnp.repeat(tables, 8, axis=0), jnp.repeat(zeros, 8)),
        limits,
        special=SPECIAL,
        max_length=LIMIT,
        beam_size=8,
    )
    assert np.all(wide.scores[:, 0] >= first.scores[:, 0] - 1e-5)
    assert np.any(wide.scores[:, 0] > first.scores[:, 0] + 1e-3)


def test_length_penalty_is_that_of_wu_2016():
    assert float(length_penalty(jnp.array(7.0), 0.5)) == pytest.approx(2**0.5)
    assert float(length_penalty(jnp.array(7.0), 0.0)) == 1


@pytest.mark.parametrize("beam_size", [*nightly.only(1), 3])
def test_a_models_outputs_depend_on_neither_neighbours_nor_padding(beam_size):
    stack = {"embedding": 4, "features": 6, "cell": "lstm"}
    model = Seq2Seq(12, 9, encoder=stack, decoder=stack, attention="general", rngs=nnx.Rngs(3))
    source = jax.random.randint(jax.random.key(0), (5, 4), 4, 12)
    lengths = jnp.array([5, 2, 0, 4])
    limits = jnp.array([9, 3, 7, 1])
    together = _decode(model, source, lengths, limits, special=SPECIAL, max_length=9, beam_size=beam_size)
    for row, length in enumerate(lengths):
        if not length:
            assert not np.any(together.tokens[row])
            continue
        one = slice(row, row + 1)
        own = {"special": SPECIAL, "max_length": int(limits[row]), "beam_size": beam_size}
        alone = _decode(model, source[:length, one], lengths[one], limits[one], **own)
        assert _trim(together.tokens[row, 0]) == _trim(alone.tokens[0, 0])
        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-4)
        assert len(_trim(together.tokens[row, 0])) <= limits[row]


LOGITS = np.array([0.0, 0.0, 0.5, 2.0, 1.0, 0.0])  # of a model that says the same at every step


def _kept(temperature, top_k, top_p):
    """The distribution to draw from, by its definition: sort, cut, normalise."""
    logits = LOGITS / temperature
    p = np.where(np.isin(np.arange(6), [SPECIAL.bos, SPECIAL.pad]), 0, np.exp(logits))
    order = np.argsort(-p)
    if top_k:
        p[order[top_k:]] = 0
    p /= p.sum()
    total = 0.0
    for index in order:
        p[index], total = (p[index] if total < top_p else 0), total + p[index]
    return p / p.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.3, 3, 0.8), *nightly.only((0.5, 0, 1.0), (1.0, 3, 0.8), (1.0, 0, 1.0), (2.0, 2, 1.0), (1.0, 0, 0.7))],
)
def test_tokens_are_drawn_as_often_as_their_definition_says(temperature, top_k, top_p):
    number = 20000

    def step(carry, tokens):
        return carry, (carry, None)

    logits = jnp.broadcast_to(jnp.asarray(LOGITS, jnp.float32), (number, 6))  # a constant would be folded for seconds
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    keys = jax.random.split(jax.random.key(0), number)
    found = _sample(step, logits, jnp.full(number, 2), keys=keys, special=SPECIAL, max_length=2, **options)
    p = _kept(temperature, top_k, top_p)
    first = np.bincount(np.asarray(found.tokens[:, 0, 0]), minlength=6) / number
    np.testing.assert_allclose(first, p, atol=5 * 0.5 / number**0.5)
    assert (first[p == 0] == 0).all()
    ended = np.asarray(found.tokens[:, 0, 0]) == SPECIAL.eos
    second = np.bincount(np.asarray(found.tokens[~ended, 0, 1]), minlength=6) / (~ended).sum()
    np.testing.assert_allclose(second, p, atol=5 * 0.5 / (~ended).sum() ** 0.5)
    log_p = np.log(np.maximum(_kept(1.0, 0, 1.0), 1e-30))  # start and padding are never drawn
    tokens = np.asarray(found.tokens[:, 0])
    expected = log_p[tokens[:, 0]] + np.where(ended, 0, log_p[tokens[:, 1]])
    np.testing.assert_allclose(found.scores[:, 0], expected, rtol=1e-4)


def test_drawing_from_the_likeliest_token_alone_is_greedy():
    tables, step = _chain(4, 8)
    carry, limits = (tables, jnp.zeros(8, jnp.int32)), jnp.full(8, LIMIT)
    keys = jax.random.split(jax.random.key(1), 8)
    drawn = _sample(step, carry, limits, keys=keys, special=SPECIAL, max_length=LIMIT, top_k=1)
    for mine, its in zip(drawn, _greedy(step, carry, limits, special=SPECIAL, max_length=LIMIT), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_what_is_drawn_for_a_source_depends_on_its_key_alone_and_comes_likeliest_first():
    stack = {"embedding": 4, "features": 6, "cell": "gru"}
    model = Seq2Seq(12, 9, encoder=stack, decoder=stack, rngs=nnx.Rngs(3))
    source, lengths = jax.random.randint(jax.random.key(0), (5, 3), 4, 12), jnp.array([5, 2, 4])
    keys = jax.random.split(jax.random.key(2), 3)
    limits, how = jnp.full(3, 12), {"special": SPECIAL, "max_length": 12, "beam_size": 4}
    together = decode(model, source, lengths, limits, sampling=Sampling(keys), **how)
    assert (np.diff(together.scores, axis=1) <= 0).all()
    assert len({_trim(tokens) for tokens in together.tokens[0]}) > 1
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        alone = decode(model, source[:length, one], lengths[one], limits[one], sampling=Sampling(keys[one]), **how)
        assert [_trim(t) for t in together.tokens[row]] == [_trim(t) for t in alone.tokens[0]]


def test_coverage_penalty_is_that_of_wu_2016():
    coverage = jnp.array([[0.5, 2.0, 0.25, 0.0]])
    valid = jnp.array([[True, True, True, False]])
    assert float(coverage_penalty(coverage, valid, 0.2)[0]) == pytest.approx(-0.2 * (np.log(0.5) + np.log(0.25)))
    assert float(coverage_penalty(coverage, valid, 0.0)[0]) == 0


def _looking_chain(seed, batch):
    """As `_chain`, with attention over three source steps that depends on the token read."""
    tables, step = _chain(seed, batch)
    looks = jax.nn.softmax(3 * jax.random.normal(jax.random.key(seed + 1), (6, 3)))

    def look(carry, tokens):
        carry, (logits, _) = step(carry, tokens)
        return carry, (logits, looks[tokens])

    return tables, np.asarray(looks, np.float64), look


def test_a_beam_that_holds_everything_is_exact_under_both_penalties():
    alpha, beta, beam = 0.6, 0.4, 100
    tables, looks, step = _looking_chain(5, 2)
    lengths = jnp.array([3, 2])
    valid = jnp.arange(3) < lengths[:, None]
    carry = (jnp.repeat(tables, beam, axis=0), jnp.zeros(2 * beam, jnp.int32))
    found = beam_search(
        step,
        carry,
        jnp.full(2, LIMIT),
        special=SPECIAL,
        max_length=LIMIT,
        beam_size=beam,
        penalties=Penalties(alpha, beta, valid),
    )
    for row in range(2):
        wanted = []
        for tokens, score in _all_outputs(tables[row], LIMIT, alpha):
            coverage = looks[[SPECIAL.bos, *tokens[:-1]]].sum(0)[: int(lengths[row])]
            wanted.append((tokens, score + beta * np.log(np.minimum(coverage, 1)).sum()))
        wanted.sort(key=lambda item: -item[1])
        assert [_trim(tokens) for tokens in found.tokens[row, :10]] == [tokens for tokens, _ in wanted[:10]]
        np.testing.assert_allclose(found.scores[row, :10], [score for _, score in wanted[:10]], rtol=1e-4)
    plain = beam_search(step, carry, jnp.full(2, LIMIT), special=SPECIAL, max_length=LIMIT, beam_size=beam)
    assert [_trim(t) for t in plain.tokens[0, :10]] != [_trim(t) for t in found.tokens[0, :10]]


def test_a_coverage_penalty_without_attention_is_refused():
    tables, step = _chain(0, 1)
    penalties = Penalties(0.0, 0.1, jnp.ones((1, 3), bool))
    with pytest.raises(ValueError, match="a coverage penalty needs a step with attention weights"):
        beam_search(
            step,
            (tables, jnp.zeros(1, jnp.int32)),
            jnp.full(1, LIMIT),
            special=SPECIAL,
            max_length=LIMIT,
            beam_size=1,
            penalties=penalties,
        )


@pytest.mark.parametrize("beam_size", [*nightly.only(1), 3])
def test_log_probabilities_of_tokens_are_the_models_own(beam_size):
    stack = {"embedding": 4, "features": 6, "cell": "lstm"}
    model = Seq2Seq(12, 9, encoder=stack, decoder=stack, attention="general", rngs=nnx.Rngs(3))
    source, lengths = jax.random.randint(jax.random.key(0), (5, 2), 4, 12), jnp.array([5, 3])
    alpha = 0.7 if beam_size > 1 else 0.0
    limits = jnp.array([20, 16])
    found = _decode(model, source, lengths, limits, special=SPECIAL, max_length=20, beam_size=beam_size, alpha=alpha)
    for row in range(2):
        for tokens, score, log_p in zip(found.tokens[row], found.scores[row], found.log_p[row], strict=True):
            said = np.array(_trim(tokens))
            inputs = jnp.array([SPECIAL.bos, *said[:-1]])[:, None]
            logits = np.array(model(source[:, row : row + 1], lengths[row : row + 1], inputs))[:, 0]
            logits[:, [SPECIAL.bos, SPECIAL.pad]] = -np.inf
            wanted = np.asarray(jax.nn.log_softmax(logits))[np.arange(len(said)), said]
            np.testing.assert_allclose(log_p[: len(said)], wanted, rtol=1e-3, atol=1e-5)
            assert not np.any(log_p[len(said) :])
            assert float(score) == pytest.approx(wanted.sum() / ((5 + len(said)) / 6) ** alpha, rel=1e-4)


@pytest.mark.parametrize("block", [2, 3])
def test_tokens_between_two_tests_of_the_end_change_no_bit(block):
    """Blocks that do and do not divide the length, with rows that end at different steps of a block."""
    tables, looks, step = _looking_chain(6, 12)
    del looks
    limits = jnp.arange(12) % (LIMIT + 1)
    valid = jnp.ones((12, 3), bool)
    keys = jax.random.split(jax.random.key(0), 12)
    how = {"special": SPECIAL, "max_length": LIMIT}

    @functools.partial(jax.jit, static_argnames="block")
    def search(block):
        carry = (tables, jnp.zeros(12, jnp.int32))
        wide = jax.tree.map(lambda leaf: jnp.repeat(leaf, 3, axis=0), carry)
        return (
            greedy(step, carry, limits, block=block, **how),
            sample(step, carry, limits, keys=keys, block=block, **how),
            beam_search(step, wide, limits, beam_size=3, penalties=Penalties(0.7, 0.3, valid), block=block, **how),
        )

    for ours, wanted in zip(jax.tree.leaves(search(block)), jax.tree.leaves(search(1)), strict=True):
        np.testing.assert_array_equal(ours, wanted)
        assert len(np.unique(wanted)) > 2


@pytest.mark.parametrize("search", [_greedy, functools.partial(_beam_search, beam_size=1)])
def test_a_block_of_no_tokens_is_refused(search):
    tables, step = _chain(0, 1)
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        search(
            step, (tables, jnp.zeros(1, jnp.int32)), jnp.ones(1, jnp.int32), special=SPECIAL, max_length=LIMIT, block=0
        )
