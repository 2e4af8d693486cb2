import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close

from rnnlab.cells import CELLS
from rnnlab.models.recurrent import Recurrent, Stack
from rnnlab.scans import scan

INPUTS = jax.random.normal(jax.random.key(0), (6, 3, 4))
LENGTHS = jnp.array([6, 2, 4])


def _params(layer: Recurrent):
    return {name: value[...] for name, value in layer.params.items()}


def test_a_bidirectional_stack_is_its_layers_run_by_hand():
    stack = Stack("lstm", 4, 5, layers=2, bidirectional=True, rngs=nnx.Rngs(0))
    outputs, finals = stack(INPUTS, seq_lengths=LENGTHS)
    below = INPUTS
    for index, layer in enumerate(stack.layers):
        runs = [
            scan(CELLS["lstm"], _params(direction), below, seq_lengths=LENGTHS, reverse=backwards)
            for direction, backwards in zip(layer, (False, True), strict=True)
        ]
        below = jnp.concatenate([out for out, _ in runs], axis=-1)
        assert_close(finals[index][1], jnp.concatenate([final[1] for _, final in runs], axis=-1))
    assert_close(outputs, below)
    assert outputs.shape == (6, 3, stack.out_features) == (6, 3, 10)


def test_residual_adds_the_input_only_where_the_sizes_agree():
    plain, residual = (Stack("gru", 4, 5, layers=2, block=b, rngs=nnx.Rngs(0)) for b in ("plain", "residual"))
    first = Recurrent("gru", 4, 5, rngs=nnx.Rngs(0))(INPUTS)[0]  # 4 is not 5: nothing is added to layer 1
    assert_close(residual(INPUTS)[0], plain(INPUTS)[0] + first)


def test_dropout_masks_stand_between_the_layers():
    stack = Stack("rnn", 4, 5, layers=2, dropout=0.5, rngs=nnx.Rngs(0))
    noise = stack.draw(nnx.Rngs(dropout=1), 6, 3)
    ((mask,), _) = noise.steps
    first, second = stack.layers[0][0], stack.layers[1][0]
    assert_close(stack(INPUTS, noise=noise)[0], second(first(INPUTS)[0] * mask)[0])
    assert not np.allclose(stack(INPUTS)[0], stack(INPUTS, noise=noise)[0])


def test_a_state_handed_on_continues_the_run():
    stack = Stack("gru", 4, 5, layers=2, rngs=nnx.Rngs(0))
    whole, finals = stack(INPUTS)
    first, between = stack(INPUTS[:2])
    second, last = stack(INPUTS[2:], between)
    assert_close((jnp.concatenate([first, second]), last), (whole, finals))


def test_a_learnt_initial_state_is_a_parameter_that_gets_a_gradient():
    layer = Recurrent("lstm", 4, 5, initial_state="learnt", rngs=nnx.Rngs(0))
    layer.start["c"][...] = jnp.arange(5.0)
    assert_close(layer.initial_state(2)[1], np.tile(np.arange(5.0), (2, 1)))
    graph, state = nnx.split(layer)
    gradient = jax.grad(lambda s: nnx.merge(graph, s)(INPUTS)[0].sum())(state)
    assert np.any(gradient["start"]["h"][...])
    assert np.any(gradient["start"]["c"][...])


@pytest.mark.parametrize("states", ["learnt", "given"])
def test_every_sequence_of_a_packed_row_starts_from_the_initial_state(states):
    stack = Stack("lstm", 4, 5, layers=2, bidirectional=True, initial_state="learnt", rngs=nnx.Rngs(0))
    graph, state = nnx.split(stack)
    state = jax.tree.map(lambda v: jax.random.normal(jax.random.key(v.size), v.shape) / 2, state)
    given = stack.initial_states(3)
    given = jax.tree.map(lambda v: v + 0.3, given) if states == "given" else None

    def run(state, inputs, segment_starts=None):
        outputs, _ = nnx.merge(graph, state)(inputs, given, segment_starts=segment_starts)
        return (outputs * jnp.cos(outputs)).sum(), outputs

    run = jax.jit(jax.value_and_grad(run, has_aux=True))
    (_, packed), gradient = run(state, INPUTS, jnp.zeros((6, 3), bool).at[3].set(True))
    ((_, first), of_first), ((_, second), of_second) = run(state, INPUTS[:3]), run(state, INPUTS[3:])
    assert_close(packed, jnp.concatenate([first, second]))
    assert_close(gradient, jax.tree.map(jnp.add, of_first, of_second))


def test_unknown_names_are_refused_with_the_list():
    with pytest.raises(ValueError, match=r"cell: unknown value 'lstmm'; allowed: .*gru.*lstm"):
        Stack("lstmm", 4, 5, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="initial_state: unknown value 'one'; allowed: zero, learnt"):
        Recurrent("lstm", 4, 5, initial_state="one", rngs=nnx.Rngs(0))


def test_what_drops_r_needs_one():
    for field in ("recurrent_dropout", "weight_drop"):
        with pytest.raises(ValueError, match=rf"{field}: cell 'min_gru' has no R, so it must be 0, not 0\.1"):
            Stack("min_gru", 4, 5, rngs=nnx.Rngs(0), **{field: 0.1})


def test_a_cell_of_ones_own_needs_no_registry():
    mine = Recurrent(CELLS["gru"], 4, 5, rngs=nnx.Rngs(0))
    assert_close(mine(INPUTS), Recurrent("gru", 4, 5, rngs=nnx.Rngs(0))(INPUTS))


def _noise(stack: Stack, seed: int = 1):
    return stack.draw(nnx.Rngs(dropout=seed), 6, 3)


def test_recurrent_dropout_is_one_mask_of_h_for_all_steps():
    """Gal and Ghahramani 2016: each step multiplies the same units of h by 0 or by 1 / (1 - rate)."""
    stack = Stack("lstm", 4, 8, recurrent_dropout=0.5, rngs=nnx.Rngs(0))
    noise = _noise(stack)
    ((mask, _),) = noise.all[0]
    assert mask.shape == (3, 8)
    assert set(np.unique(mask)) == {0, 2}
    params, state = _params(stack.layers[0][0]), CELLS["lstm"].initial_state(3, 8)
    for time, x in enumerate(INPUTS):
        state = CELLS["lstm"].combine(params, state, x @ params["W"] + params["b"], (mask * state[0]) @ params["R"])
        assert_close(stack(INPUTS, noise=noise)[0][time], state[0])


def test_weight_drop_leaves_out_entries_of_r_the_same_for_a_whole_batch():
    """Merity, Keskar and Socher 2018: the masked matrix is used at every step, in place of R."""
    stack = Stack("gru", 4, 8, weight_drop=0.25, rngs=nnx.Rngs(0))
    noise = _noise(stack)
    ((_, mask),) = noise.all[0]
    params = _params(stack.layers[0][0])
    assert mask.shape == params["R"].shape
    assert_close(np.unique(mask), np.array([0, 4 / 3]))
    assert_close(stack(INPUTS, noise=noise)[0], scan(CELLS["gru"], params | {"R": mask * params["R"]}, INPUTS)[0])
    assert_close(stack(INPUTS)[0], scan(CELLS["gru"], params, INPUTS)[0])


def test_zoneout_keeps_a_share_of_the_units_at_each_step_and_evaluation_takes_the_mean():
    """Krueger et al. 2017, with a rate for h and one for c."""
    stack = Stack("lstm", 4, 50, zoneout=0.2, zoneout_cell=0.6, rngs=nnx.Rngs(0))
    noise = stack.draw(nnx.Rngs(dropout=1), 60, 30)
    ((kept_h, kept_c),) = noise.steps[1][0]
    assert abs(float(kept_h.mean()) - 0.2) < 0.01
    assert abs(float(kept_c.mean()) - 0.6) < 0.01
    inputs = jax.random.normal(jax.random.key(2), (60, 30, 4))
    outputs = np.asarray(stack(inputs, noise=noise)[0])
    np.testing.assert_array_equal((outputs[1:] == outputs[:-1])[np.asarray(kept_h[1:])], True)
    recurrent = stack.layers[0][0]
    assert_close(stack(inputs)[0], scan(recurrent.evaluated_cell, _params(recurrent), inputs)[0])
    assert not np.allclose(stack(inputs)[0], scan(CELLS["lstm"], _params(recurrent), inputs)[0], atol=1e-3)


def test_variational_masks_between_the_layers_do_not_change_over_time():
    stack = Stack("rnn", 4, 5, layers=2, dropout=0.5, variational=True, rngs=nnx.Rngs(0))
    ((mask,), _) = _noise(stack).steps
    assert (np.asarray(mask) == np.asarray(mask[:1])).all()


def test_recurrent_dropout_is_refused_where_the_cell_multiplies_itself():
    with pytest.raises(ValueError, match=r"recurrent_dropout: cell 'gru_reset_before'.*use weight_drop"):
        Stack("gru_reset_before", 4, 5, recurrent_dropout=0.1, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("cell", "method"), [("gru", "newton"), ("min_gru", "associative")])
def test_another_method_changes_nothing_but_how_it_is_scanned(cell, method):
    plain, other = (Stack(cell, 4, 5, layers=2, method=m, rngs=nnx.Rngs(0)) for m in ("sequential", method))
    assert {direction.method for layer in other.layers for direction in layer} == {method}
    programs = [str(jax.make_jaxpr(lambda x, s=s: s(x)[0])(INPUTS)) for s in (plain, other)]
    assert programs[0] != programs[1]
    assert_close(other(INPUTS, seq_lengths=LENGTHS), plain(INPUTS, seq_lengths=LENGTHS))


def test_a_method_that_is_not_for_the_cell_is_refused():
    with pytest.raises(
        ValueError, match="method of cell 'gru': unknown value 'associative'; allowed: auto, sequential"
    ):
        Stack("gru", 4, 5, method="associative", rngs=nnx.Rngs(0))
