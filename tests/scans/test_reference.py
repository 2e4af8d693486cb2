import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rnnlab.cells import find_cell
from rnnlab.scans import scan


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", oracle.SAMPLE)
def test_is_the_loop_over_combine_row_by_row(name, reverse):
    cell, lengths = find_cell(name), [6, 0, 4]
    params, inputs, state = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), oracle.example(name))
    outputs, final = scan(
        cell, params, inputs, state=state, seq_lengths=jnp.array(lengths), reverse=reverse, method="reference"
    )
    for row, length in enumerate(lengths):
        now = tuple(entry[row : row + 1] for entry in state)
        wanted = np.zeros_like(outputs[:, row])
        for step in range(length)[:: -1 if reverse else 1]:
            a = inputs[step, row : row + 1] @ params["W"] + params["b"]
            now = cell.combine(params, now, a, oracle.recurrent(name, params, now[0]))
            wanted[step] = now[0][0]
        oracle.assert_close(outputs[:, row], wanted)
        oracle.assert_close([entry[row] for entry in final], [entry[0] for entry in now])


@pytest.mark.parametrize("name", oracle.SAMPLE)
def test_units_are_kept_and_masked_as_the_loop_over_combine_says(name):
    cell = find_cell(name)
    params, inputs, state = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), oracle.example(name))
    rng = np.random.default_rng(0)
    kept = tuple(jnp.array(rng.random((len(inputs), *entry.shape)) < 0.4) for entry in state)
    masked = "R" not in cell.reads_params
    mask = jnp.array(2.0 * (rng.random(state[0].shape) < 0.5), jnp.float32) if masked else None
    outputs, final = scan(cell, params, inputs, state=state, zoneout_mask=kept, recurrent_mask=mask, method="reference")
    now, wanted = state, []
    for step, x in enumerate(inputs):
        h = now[0] * mask if masked else now[0]
        after = cell.combine(params, now, x @ params["W"] + params["b"], oracle.recurrent(name, params, h))
        own = [kept[mask][step] for mask in cell.masks]  # what is one number together is kept together
        now = tuple(np.where(stays, old, new) for stays, old, new in zip(own, now, after, strict=True))
        wanted.append(now[0])
    oracle.assert_close(outputs, np.stack(wanted))
    oracle.assert_close(list(final), list(now))
