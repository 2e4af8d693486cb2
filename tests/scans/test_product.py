import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import assert_close

from rnnlab.cells import CELLS
from rnnlab.scans import Plan, scan
from tests import nightly

IDS = np.array([[0, 3, 2], [3, 3, 0], [1, 0, 2], [2, 2, 2], [0, 1, 3], [1, 1, 0], [2, 0, 1]])
OPTIONS = {
    "plain": {},
    "reverse": {"reverse": True},
    "lengths": {"seq_lengths": np.array([7, 0, 4])},
    "segment_starts": {"segment_starts": IDS == 1},
    "reference": {"method": "reference"},
    "block": {"method": Plan(7, project="block")},
    "recompute": {"checkpoint_every": 3, "seq_lengths": np.array([2, 7, 5])},
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *nightly.only(*((name, OPTIONS["recompute"]) for name in CELLS)),
        *(("slstm", OPTIONS[kind]) for kind in ("recompute", "block")),
        *(("gru", OPTIONS[kind]) for kind in ("reverse", "segment_starts", "reference", "recompute")),
        *nightly.only(*(("gru", OPTIONS[kind]) for kind in ("plain", "lengths", "block"))),
    ],
)
def test_ids_are_one_hot_vectors(name, options):
    cell = CELLS[name]
    params = cell.init(jax.random.key(0), 4, 5)
    weight = jax.random.normal(jax.random.key(1), (7, 3, 5))

    def results(params, inputs):
        outputs, final = scan(cell, params, inputs, **options)
        return (outputs * weight).sum() + final[0].sum(), (outputs, final)

    run = jax.value_and_grad(results, has_aux=True)
    assert_close(run(params, jnp.asarray(IDS)), run(params, jax.nn.one_hot(IDS, 4)))


def test_ids_give_gradients_of_bfloat16_weights():
    params = CELLS["gru"].init(jax.random.key(0), 4, 5, jnp.bfloat16)
    gradients = jax.grad(lambda p: scan(CELLS["gru"], p, jnp.asarray(IDS))[0].sum().astype(jnp.float32))(params)
    wanted = jax.grad(lambda p: scan(CELLS["gru"], p, jax.nn.one_hot(IDS, 4))[0].sum().astype(jnp.float32))(params)
    for name, gradient in gradients.items():
        assert gradient.dtype == jnp.bfloat16
        assert_close(gradient.astype(jnp.float32), wanted[name].astype(jnp.float32), tolerance=0.05)


@pytest.mark.parametrize("bad", [-1, 4])
def test_an_id_without_a_row_is_loud_unless_it_is_padding(bad):
    params = CELLS["lstm"].init(jax.random.key(0), 4, 5)
    ids = jnp.asarray(IDS).at[5, 1].set(bad)
    assert np.isnan(scan(CELLS["lstm"], params, ids)[0]).all()
    by_row, _ = scan(CELLS["lstm"], params, ids, method=Plan(7, project="block", joined=True))
    np.testing.assert_array_equal(np.isnan(by_row).all(-1), (np.arange(7)[:, None] >= 5) & (np.arange(3) == 1))
    short = scan(CELLS["lstm"], params, ids, seq_lengths=np.array([7, 5, 7]))
    assert_close(short, scan(CELLS["lstm"], params, jnp.asarray(IDS), seq_lengths=np.array([7, 5, 7])))
