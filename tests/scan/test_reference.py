import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rnnlab.cells import CELLS
from rnnlab.scan import scan


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_is_the_loop_over_combine_row_by_row(name, reverse):
    cell, lengths = CELLS[name], [6, 0, 4]
    params, inputs, state = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), oracle.example(name))
    outputs, final = scan(
        cell, params, inputs, state=state, seq_lengths=jnp.array(lengths), reverse=reverse, method="reference"
    )
    for row, length in enumerate(lengths):
        now = tuple(entry[row : row + 1] for entry in state)
        wanted = np.zeros_like(outputs[:, row])
        for step in range(length)[:: -1 if reverse else 1]:
            a = inputs[step, row : row + 1] @ params["W"] + params["b"]
            now = cell.combine(params, now, a, now[0] @ params["R"])
            wanted[step] = now[0][0]
        oracle.assert_close(outputs[:, row], wanted)
        oracle.assert_close([entry[row] for entry in final], [entry[0] for entry in now])
