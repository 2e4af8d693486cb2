import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import BATCH, HIDDEN, IN, assert_close, example

from rnnlab.cells import CELLS, Cell, zoneout
from rnnlab.models.recurrent import Rates, Recurrent
from rnnlab.scans import scan

TOGETHER = {"slstm": ("c", "n", "m"), "lru": ("h", "c"), "s5": ("h", "c")}
UNITS = (1, BATCH, HIDDEN)
_scan = jax.jit(scan, static_argnames="cell")


def _example(name):
    """One step; an sLSTM has a state that a sequence leads to."""
    params, inputs, state = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), example(name))
    if name == "slstm":
        params["b"] *= 3
        _, state = _scan(CELLS[name], params, inputs)
    return params, inputs[:1], state


def _layer(name):
    """With rates for `h` and for what is not one number with it."""
    rates = Rates(zoneout=0.3, zoneout_cell=0.0 if "h" in TOGETHER.get(name, ()) else 0.6)
    return Recurrent(name, IN, HIDDEN, rngs=nnx.Rngs(0), rates=rates)


def _groups(name):
    """Indices of the entries of the state that are one number."""
    names, together = CELLS[name].state_names, TOGETHER.get(name, ())
    alone = [(index,) for index, entry in enumerate(names) if entry not in together]
    return sorted([*alone, tuple(map(names.index, together))] if together else alone)


def _numbers(name, state):
    """What the entries stand for, whose mean can be taken: an sLSTM without its stabiliser."""
    if name != "slstm":
        return list(state)
    h, c, n, m = (np.asarray(entry, np.float64) for entry in state)
    return [h, c * np.exp(m), n * np.exp(m)]


@pytest.mark.parametrize("name", CELLS)
def test_a_unit_keeps_all_of_what_is_one_number_or_none_of_it(name):
    params, inputs, state = _example(name)
    _, after = _scan(CELLS[name], params, inputs, state=state, zoneout_mask=(jnp.zeros(UNITS, bool),) * len(state))
    keys = jax.random.split(jax.random.key(2), len(state))
    drawn = _layer(name).draw(nnx.Rngs(dropout=1), *UNITS[:2]).steps
    for zoneout_mask in (drawn, tuple(jax.random.bernoulli(key, 0.5, UNITS) for key in keys)):
        _, found = _scan(CELLS[name], params, inputs, state=state, zoneout_mask=zoneout_mask)
        for group in _groups(name):
            same = np.asarray(found[group[0]] == state[group[0]])
            assert 0 < same.mean() < 1
            for index in group:
                np.testing.assert_array_equal(found[index], np.where(same, state[index], after[index]))
    for group in _groups(name):
        assert all(np.array_equal(drawn[index], drawn[group[0]]) for index in group)


@pytest.mark.parametrize("name", CELLS)
def test_evaluation_takes_the_mean_over_what_training_would_keep(name):
    params, inputs, state = _example(name)
    layer, groups = _layer(name), _groups(name)
    rates = [layer.rates.zoneout if group[0] == 0 else layer.rates.zoneout_cell for group in groups]
    terms = []
    for pattern in itertools.product((False, True), repeat=len(groups)):
        keeps = {index: keep for group, keep in zip(groups, pattern, strict=True) for index in group}
        zoneout_mask = tuple(jnp.full(UNITS, keeps[index]) for index in range(len(state)))
        _, after = _scan(CELLS[name], params, inputs, state=state, zoneout_mask=zoneout_mask)
        weight = np.prod([rate if keep else 1 - rate for rate, keep in zip(rates, pattern, strict=True)])
        terms.append([weight * entry for entry in _numbers(name, after)])
    _, found = _scan(layer.evaluated_cell, params, inputs, state=state)
    assert_close(_numbers(name, found), [np.sum(entries, 0) for entries in zip(*terms, strict=True)], 1e-5)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_an_slstm_with_zoneout_stays_within_its_bound(rate):
    """|h| <= sigmoid(o) |c| / n < 1, in training and in evaluation, with gates that open and shut wide."""
    layer = Recurrent("slstm", IN, HIDDEN, rngs=nnx.Rngs(0), rates=Rates(zoneout=0.1, zoneout_cell=rate))
    inputs = 30 * jax.random.normal(jax.random.key(1), (200, BATCH, IN))
    for noise in (layer.draw(nnx.Rngs(dropout=1), *inputs.shape[:2]), None):
        outputs, (_, c, n, _) = layer(inputs, noise=noise)
        assert np.abs(outputs).max() <= 1
        assert (np.abs(c) <= n * (1 + 1e-6)).all()


def test_rates_that_would_part_one_number_are_refused():
    for name in ("lru", "s5"):
        for rates in (Rates(zoneout_cell=0.1), Rates(zoneout=0.1, zoneout_cell=0.2)):
            with pytest.raises(
                ValueError, match=rf"state \(h, c\) of cell '{name}' is one number.*zoneout_cell must be"
            ):
                Recurrent(name, IN, HIDDEN, rngs=nnx.Rngs(0), rates=rates)
        assert Recurrent(name, IN, HIDDEN, rngs=nnx.Rngs(0), rates=Rates(zoneout=0.1, zoneout_cell=0.1)).zoneout == (
            0.1,
            0.1,
        )


def test_a_cell_of_ones_own_says_what_is_one_number_and_what_its_mean_is():
    def combine(params, state, a, r):
        _, size, turn = state
        return size * jnp.cos(turn), size, turn + a

    def mean(rate, old, new):
        x, y = (
            sum(w * size * of(turn) for w, (size, turn) in ((rate, old), (1 - rate, new))) for of in (jnp.cos, jnp.sin)
        )
        return jnp.hypot(x, y), jnp.arctan2(y, x)

    cell = Cell(
        name="polar",
        gates=("turn",),
        combine=combine,
        state_names=("h", "size", "turn"),
        recurrence="none",
        together=("size", "turn"),
        mean=mean,
    )
    assert zoneout.entry_rates(cell, 0.1, 0.5) == (0.1, 0.5, 0.5)
    params = {"W": jnp.ones((1, 1)), "b": jnp.zeros(1)}
    state = jnp.ones((1, 1)), 2 * jnp.ones((1, 1)), jnp.zeros((1, 1))
    averaged = zoneout.expected(cell, (0.0, 0.25, 0.25))
    _, (_, size, turn) = scan(averaged, params, jnp.full((1, 1, 1), 0.5), state=state)
    wanted = 0.25 * 2 + 0.75 * 2 * np.exp(0.5j)
    np.testing.assert_allclose(size * np.exp(1j * turn), [[wanted]], rtol=1e-6)
