import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close, draw_module

from rnnlab.cells import CELLS
from rnnlab.models import Seq2Seq
from tests import nightly

SOURCE = jnp.array([[4, 5], [6, 7], [8, 0], [9, 0]])
LENGTHS = jnp.array([4, 2])
TARGETS = jnp.array([[1, 1], [5, 6], [7, 4]])


PAIRS = list(zip(CELLS, [*list(CELLS)[1:], *CELLS], strict=False))  # each cell once on either side
SOME = nightly.but(PAIRS, *PAIRS[::8])


def _model(cells=("lstm", "lstm"), **options):
    sides = {
        "encoder": {"embedding": 3, "cell": cells[0], "features": 4, "bidirectional": True},
        "decoder": {"embedding": 3, "cell": cells[1], "features": 5},
    }
    for side in sides:
        sides[side] |= options.pop(side, {})
    return draw_module(lambda: Seq2Seq(12, 9, rngs=nnx.Rngs(0), **sides, **options))


@pytest.mark.parametrize("cells", SOME, ids="-".join)
def test_every_cell_on_either_side_gives_every_parameter_a_gradient(cells):
    graph, params = nnx.split(_model(cells, attention="general"))

    @jax.jit
    def gradient_of(params):
        return jax.grad(lambda p: jnp.sum(nnx.merge(graph, p)(SOURCE, LENGTHS, TARGETS) ** 2))(params)

    gradient = gradient_of(params)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_a_pair_does_not_depend_on_its_neighbour():
    model = _model(attention="additive", context="every_step")
    logits = model(SOURCE, LENGTHS, TARGETS)
    assert_close(logits[:, 1], model(SOURCE[:2, 1:], LENGTHS[1:], TARGETS[:, 1:])[:, 0])


def test_without_attention_everything_passes_through_the_encoders_last_state():
    model = _model(encoder={"bidirectional": False}, bridge="last", decoder={"features": 4})
    states, _ = model.encode(SOURCE, LENGTHS)
    _, wanted = model.encoder(SOURCE, LENGTHS)
    assert_close(states, wanted)


def test_teacher_forcing_of_zero_ignores_all_but_the_first_target_in_training_only():
    model = _model(teacher_forcing=0.0)
    other = TARGETS.at[1:].set(8)
    rngs = [nnx.Rngs(dropout=jax.random.key(0), sampling=jax.random.key(1)) for _ in range(2)]
    assert_close(model(SOURCE, LENGTHS, TARGETS, rngs=rngs[0]), model(SOURCE, LENGTHS, other, rngs=rngs[1]))
    assert not np.allclose(model(SOURCE, LENGTHS, TARGETS), model(SOURCE, LENGTHS, other))


def test_a_ratio_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match=r"teacher_forcing: 1.5 is not a ratio from 0 to 1"):
        _model(teacher_forcing=1.5)


@pytest.mark.parametrize("attention", ["general", "monotonic"])
def test_a_model_is_exported_for_any_batch_and_lengths(attention, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would want symbolic sizes to be integers
    graph, params = nnx.split(_model(attention=attention))
    source, target, batch = jax.export.symbolic_shape("source, target, batch")
    ids = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((source, batch), (batch,), (target, batch))]

    @jax.jit
    def run(params, *arguments):
        return nnx.merge(graph, params)(*arguments)

    exported = jax.export.export(run)(jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), params), *ids)
    arguments = SOURCE, LENGTHS, TARGETS
    assert_close(exported.call(params, *arguments), run(params, *arguments))
