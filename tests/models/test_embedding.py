import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close

from rnnlab.models.embedding import Lookup, embed, rows
from rnnlab.models.recurrent import Stack
from tests import nightly

IDS = jax.random.randint(jax.random.key(0), (6, 3), 0, 7)
TABLE = nnx.Embed(7, 4, rngs=nnx.Rngs(0))


def test_ids_stay_a_lookup_only_where_it_is_cheaper_and_nothing_is_dropped():
    assert isinstance(embed(TABLE, IDS, None), Lookup)
    assert not isinstance(embed(TABLE, IDS[:2], None), Lookup)  # 6 ids, 7 rows
    mask = jnp.full((6, 3, 4), 2.0)
    assert_close(embed(TABLE, IDS, mask), 2 * np.asarray(TABLE.embedding[...])[np.asarray(IDS)])
    assert embed(TABLE, IDS, None).shape == (6, 3, 4)


@pytest.mark.parametrize(
    ("cell", "block"),
    [
        ("gru", "prenorm"),
        *nightly.only(("gru", "plain"), ("gru", "residual")),
        *nightly.only(("lstm", "plain"), ("lstm", "residual"), ("lstm", "prenorm")),
    ],
)
def test_a_stack_reads_a_lookup_as_its_rows(cell, block):
    stack = Stack(cell, 4, 2, layers=2, bidirectional=True, block=block, rngs=nnx.Rngs(1))
    graph, state = nnx.split((TABLE, stack))
    lengths = jnp.array([6, 2, 4])

    def results(state, late):
        table, stack = nnx.merge(graph, state)
        inputs = embed(table, IDS, None)
        outputs, finals = stack(inputs if late else rows(inputs), seq_lengths=lengths)
        return (outputs**2).sum(), (outputs, finals)

    run = jax.jit(jax.value_and_grad(results, has_aux=True), static_argnums=1)
    late, early = run(state, True), run(state, False)
    assert_close(jax.tree.leaves(late), jax.tree.leaves(early))
