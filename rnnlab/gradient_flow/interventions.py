"""Interventions against exploding and vanishing gradients, on any cell's parameters."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rnnlab.cells import Cell, Params, State
from rnnlab.gradient_flow.lyapunov import lyapunov_exponents
from rnnlab.gradient_flow.trajectory import widen
from rnnlab.scans.precision import exact_products

RECURRENT_INITS = ("orthogonal", "identity", "gaussian")


def draw_recurrent(cell: Cell, params: Params, key: PRNGKeyArray, *, kind: str, gain: float = 1.0) -> Params:
    """Returns `params` with a new `R`, each gate's block drawn separately.

        orthogonal  gain times an orthogonal matrix         (Saxe et al. 2014, arXiv 1312.6120)
        identity    gain times the identity                 (Le, Jaitly and Hinton 2015, arXiv 1504.00941)
        gaussian    independent N(0, gain^2 / hidden)       (Sompolinsky, Crisanti and Sommers 1988: chaos from gain 1)

    Raises:
      ValueError: an unknown kind, or a cell whose `R` is not dense.
    """
    _check_dense(cell)
    hidden = cell.features(params)
    keys = jax.random.split(key, len(cell.gates))
    if kind == "orthogonal":
        blocks = [jax.nn.initializers.orthogonal(gain)(k, (hidden, hidden)) for k in keys]
    elif kind == "identity":
        blocks = [gain * jnp.eye(hidden)] * len(cell.gates)
    elif kind == "gaussian":
        blocks = [gain * jax.random.normal(k, (hidden, hidden)) / hidden**0.5 for k in keys]
    else:
        raise ValueError(f"unknown recurrent initialisation {kind!r}; allowed: {', '.join(RECURRENT_INITS)}")
    return params | {"R": jnp.concatenate(blocks, axis=1).astype(params["R"].dtype)}


def _check_dense(cell: Cell) -> None:
    if cell.recurrence != "dense":
        raise ValueError(f"cell {cell.name!r}: this needs a dense R, but its recurrence is {cell.recurrence!r}")


def set_gate_bias(cell: Cell, params: Params, gate: str, values: Float[Array, ""] | Float[Array, "hidden"]) -> Params:
    """Returns `params` with another bias of one gate, such as the forget gate (Jozefowicz, Zaremba and Sutskever 2015).

    Raises:
      ValueError: a gate that the cell does not have.
    """
    if gate not in cell.gates:
        raise ValueError(f"cell {cell.name!r} has no gate {gate!r}; it has {', '.join(cell.gates)}")
    hidden, index = cell.features(params), cell.gates.index(gate)
    values = jnp.asarray(values, params["b"].dtype)
    return params | {"b": params["b"].at[index * hidden : (index + 1) * hidden].set(values)}


def chrono_biases(cell: Cell, params: Params, key: PRNGKeyArray, *, longest: int) -> Params:
    """Returns `params` with biases for memories uniformly from 2 to `longest` steps (Tallec and Ollivier 2018, arXiv
    1804.11188).

    Raises:
      ValueError: a cell without `memory_gates`, or `longest` below 3.
    """
    if not cell.memory_gates:
        raise ValueError(f"cell {cell.name!r} has no memory gate, so no chrono initialisation")
    if longest < 3:
        raise ValueError(f"chrono: the longest memory must be at least 3 steps, not {longest}")
    bias = jnp.log(jax.random.uniform(key, (cell.features(params),), minval=1.0, maxval=longest - 1.0))
    for gate, sign in cell.memory_gates.items():
        params = set_gate_bias(cell, params, gate, sign * bias)
    return params


@exact_products
def limit_spectral_norm(cell: Cell, params: Params, limit: float) -> Params:
    """Returns `params` with the singular values of each gate's block of `R` clipped to `limit`.

    The result is the nearest matrix within the limit, in the Frobenius norm.

    Raises:
      ValueError: a cell whose `R` is not dense.
    """
    _check_dense(cell)
    (recurrent,) = widen(params["R"])
    left, values, right = jnp.linalg.svd(jnp.stack(jnp.split(recurrent, len(cell.gates), axis=1)), full_matrices=False)
    limited = (left * jnp.minimum(values, limit)[..., None, :]) @ right
    return params | {"R": jnp.concatenate(list(limited), axis=1).astype(params["R"].dtype)}


@exact_products
def flossing_penalty(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"],
    *,
    exponents: int,
    state: State | None = None,
    burn_in: int = 0,
) -> Float[Array, ""]:
    """Computes the mean square of the largest Lyapunov exponents, a loss to minimise before or during training:
    gradient flossing (Engelken 2023, arXiv 2312.17306).

    Arguments are those of `lyapunov_exponents`.
    """
    found = lyapunov_exponents(cell, params, inputs, state=state, exponents=exponents, burn_in=burn_in)
    return (found**2).mean()
