"""`scan`: a cell over a batch of sequences, by whichever method suits."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rnnlab.cells import Cell, Params
from rnnlab.scan import reference, sequential

METHODS: dict[str, Callable] = {"sequential": sequential.run, "reference": reference.run}


def scan(
    cell: Cell,
    params: Params,
    inputs: Float[Array, "time batch features"],
    *,
    state: tuple[Float[Array, "batch hidden"], ...] | None = None,
    seq_lengths: Int[Array | np.ndarray, "batch"] | None = None,
    reverse: bool = False,
    resets: Bool[Array | np.ndarray, "time batch"] | None = None,
    method: str = "auto",
) -> tuple[Float[Array, "time batch hidden"], tuple[Float[Array, "batch hidden"], ...]]:
    """Runs a cell over time.

    Args:
      cell: a description out of `CELLS`, or one of your own.
      params: `cell.init(...)`, or the same names with values of your own.
      inputs: `[time, batch, features]`; time may be 0.
      state: the state before the first step, each entry `[batch, hidden]`; None is `cell.initial_state`.
      seq_lengths: `[batch]`, steps in each sequence, 0 to time. A step past the end keeps the state and its output is
        zero; what stands in the padding, NaN too, changes neither values nor gradients.
      reverse: from the last step of each sequence (its own last one, given seq_lengths) to the first; the outputs stay
        in the order of the inputs.
      resets: `[time, batch]`, True where a new sequence starts within a row: nothing passes between that step and the
        one before it, in either direction; the new sequence starts from `cell.initial_state`.
      method: "sequential" (one loop, weight gradients after it), "reference" (plain, differentiated by jax), or
        "auto".

    Returns:
      `h` of every step `[time, batch, hidden]`, and the state after the last step of each sequence.

    Raises:
      ValueError: shapes that do not fit each other, lengths outside 0 to time, or an unknown method.
    """
    _check(cell, params, inputs, state, seq_lengths, resets)
    time, batch, _ = inputs.shape
    if state is None:
        state = cell.initial_state(batch, params["R"].shape[0], jnp.result_type(inputs, params["R"]))
    valid = None
    if seq_lengths is not None:
        valid = jnp.arange(time)[:, None] < jnp.asarray(seq_lengths)
        inputs = jnp.where(valid[..., None], inputs, 0)
        resets = None if resets is None else jnp.asarray(resets) & valid
    if resets is not None:
        resets = jnp.asarray(resets)
        if reverse:  # a sequence that starts at step t ends, run backwards, before step t - 1
            resets = jnp.concatenate([resets[1:], jnp.zeros_like(resets[:1])])
    outputs, final = METHODS[_resolve(method)](cell, params, inputs, tuple(state), valid, resets, reverse)
    return outputs if valid is None else jnp.where(valid[..., None], outputs, 0), final


def _resolve(method: str) -> str:
    """The method that "auto" stands for: the sequential one, the fastest measured so far for every shape on a CPU."""
    if method == "auto":
        return "sequential"
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; allowed: auto, {', '.join(METHODS)}")
    return method


def _check(cell, params, inputs, state, seq_lengths, resets):
    if inputs.ndim != 3:
        raise ValueError(f"inputs must be [time, batch, features], not of shape {inputs.shape}")
    time, batch, features = inputs.shape
    if params["W"].shape[0] != features:
        raise ValueError(f"inputs have {features} features, but W of cell {cell.name!r} takes {params['W'].shape[0]}")
    if state is not None:
        wanted = (batch, params["R"].shape[0])
        if len(state) != len(cell.state_names) or any(entry.shape != wanted for entry in state):
            raise ValueError(
                f"state of cell {cell.name!r} must be {len(cell.state_names)} arrays ({', '.join(cell.state_names)}) "
                f"of shape {wanted}, not {[entry.shape for entry in state]}"
            )
    if resets is not None and np.shape(resets) != (time, batch):
        raise ValueError(f"resets must be [time, batch] = {(time, batch)}, not of shape {np.shape(resets)}")
    if seq_lengths is None:
        return
    if np.shape(seq_lengths) != (batch,):
        raise ValueError(f"seq_lengths must be [batch] = {(batch,)}, not of shape {np.shape(seq_lengths)}")
    if not isinstance(seq_lengths, jax.core.Tracer):
        outside = [int(n) for n in np.asarray(seq_lengths) if not 0 <= n <= time]
        if outside:
            raise ValueError(
                f"seq_lengths must lie in 0 to {time} (the time of inputs), but {outside[0]} is among them"
            )
