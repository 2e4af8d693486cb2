import jax
import jax.numpy as jnp
import numpy as np
from oracle import assert_close

from rnnlab.cells import CELLS, zoneout
from rnnlab.scan import scan

RATES = (0.1, 0.5)
CELL = zoneout.expected(CELLS["lstm"], RATES)


def test_a_step_is_the_mean_over_what_training_would_keep():
    params = CELLS["lstm"].init(jax.random.key(0), 3, 2)
    inputs = jax.random.normal(jax.random.key(1), (1, 1, 3))
    state = tuple(jax.random.normal(jax.random.key(k), (1, 2)) for k in (2, 3))
    mean = [jnp.zeros((1, 2))] * 2
    for pattern in np.ndindex(2, 2, 2, 2):  # two units of h and two of c, kept or not
        kept = np.array(pattern, bool).reshape(2, 1, 1, 2)
        weight = np.prod(np.where(kept, np.reshape(RATES, (2, 1, 1, 1)), 1 - np.reshape(RATES, (2, 1, 1, 1))))
        _, after = scan(CELLS["lstm"], params, inputs, state=state, kept=tuple(map(jnp.array, kept)))
        mean = [total + weight * own for total, own in zip(mean, after, strict=True)]
    assert_close(list(scan(CELL, params, inputs, state=state)[1]), mean, 1e-5)
