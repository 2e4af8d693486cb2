import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import LINEAR, linear_params
from scipy import optimize

from rnnlab.cells import CELLS
from rnnlab.gradient_flow import kaplan_yorke_dimension, lyapunov_exponents
from tests import nightly


def test_exponents_of_a_linear_cell_are_the_logs_of_its_eigenvalues():
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(6, 6))
    eigenvalues = np.array([1.5, 1.1, -0.9, 0.6, 0.3, -0.1])
    recurrent = basis @ np.diag(eigenvalues) @ np.linalg.inv(basis)
    found = lyapunov_exponents(LINEAR, linear_params(recurrent), jnp.zeros((1500, 2, 1)), burn_in=300)
    np.testing.assert_allclose(found, np.tile(np.log(np.abs(eigenvalues)), (2, 1)), rtol=1e-4)
    three = lyapunov_exponents(LINEAR, linear_params(recurrent), jnp.zeros((1500, 2, 1)), burn_in=300, exponents=3)
    np.testing.assert_allclose(three, found[:, :3], rtol=1e-4)


def test_ids_are_read_as_rows_of_w():
    cell, ids = CELLS["rnn"], jnp.array([[0, 2], [1, 1], [2, 0]])
    params = cell.init(jax.random.key(0), 3, 4)
    wanted = lyapunov_exponents(cell, params, jax.nn.one_hot(ids, 3))
    np.testing.assert_allclose(lyapunov_exponents(cell, params, ids), wanted, rtol=1e-5)


def _mean_field(gain: float) -> float:
    """log sqrt(g^2 <tanh'^2>) where the variance is its own, q = g^2 <tanh^2> (Poole et al. 2016, arXiv 1606.05340)."""
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()

    def excess(q):
        return gain**2 * weights @ np.tanh(np.sqrt(q) * points) ** 2 - q

    q = optimize.brentq(excess, 1e-6, gain**2) if gain > 1 else 0.0
    slope = 1 - np.tanh(np.sqrt(q) * points) ** 2
    return 0.5 * np.log(gain**2 * weights @ slope**2)


@pytest.mark.parametrize("gain", [0.9, 1.2, *nightly.only(0.8, 1.5, 2.0)])
def test_chaos_of_a_random_network_sets_in_at_gain_1_as_mean_field_theory_has_it(gain):
    size = 500
    rng = np.random.default_rng(1)
    recurrent = gain * rng.normal(size=(size, size)) / np.sqrt(size)
    state = (jnp.asarray(rng.normal(size=(2, size)), jnp.float32),)
    found = lyapunov_exponents(
        CELLS["rnn"], linear_params(recurrent), jnp.zeros((500, 2, 1)), state=state, exponents=1, burn_in=200
    )
    assert (np.sign(found) == np.sign(gain - 1)).all()
    np.testing.assert_allclose(found, _mean_field(gain), atol=0.05)


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([0.9056, 0.0, -14.5723], 2 + 0.9056 / 14.5723),  # Lorenz 1963, Sprott 2003
        ([-0.1, -0.2], 0.0),
        ([0.3, 0.1], 2.0),
        ([0.2, -0.1, -0.4], 2.25),
    ],
)
def test_the_dimension_of_known_spectra(exponents, dimension):
    assert float(kaplan_yorke_dimension(jnp.array(exponents))) == pytest.approx(dimension, rel=1e-5)
    both = kaplan_yorke_dimension(jnp.array([exponents, exponents]))
    np.testing.assert_allclose(both, [dimension] * 2, rtol=1e-5)


@pytest.mark.parametrize(("options", "message"), [({"burn_in": 5}, "burn_in.*0 to 4"), ({"exponents": 3}, "1 to 2")])
def test_what_cannot_be_measured_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        lyapunov_exponents(LINEAR, linear_params(np.eye(2)), jnp.zeros((5, 1, 1)), **options)


def test_exponents_are_the_same_for_every_sequence_that_reads_the_same():
    params = CELLS["lstm"].init(jax.random.key(0), 3, 6)
    inputs = jnp.repeat(jax.random.normal(jax.random.key(1), (50, 1, 3)), 2, axis=1)
    found = lyapunov_exponents(CELLS["lstm"], params, inputs)
    assert found.shape == (2, 12)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
