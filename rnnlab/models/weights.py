"""Weights of recurrent stacks to and from the state dicts of torch.nn.RNN, GRU and LSTM, and the cells of flax.linen
and flax.nnx.

As files they are safetensors: `safetensors.numpy.save_file(to_torch(stack), path)` and `from_torch(stack,
load_file(path))`.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnlab.cells import CELLS, Cell, Params
from rnnlab.choice import check_choice
from rnnlab.models.recurrent import Recurrent, Stack

_KNOWN = ("rnn", "rnn_relu", "gru", "lstm")  # the cells that torch and flax have in the same form
_Arrays = dict[str, np.ndarray]
_Nested = Mapping[str, Mapping[str, Array | np.ndarray]]


def to_torch(stack: Stack) -> _Arrays:
    """Returns the state dict of the equivalent torch layer: `torch.nn.LSTM`, `GRU`, or `RNN` (for `rnn_relu` with
    `nonlinearity="relu"`), with the stack's layers and directions.

    The conversion is exact: nothing is computed. Torch has two biases where one is enough; the second is 0, except for
    the one inside the reset gate of a GRU. Both use the same order of gates (i, f, g, o and r, z, n).

    Raises:
      ValueError: a cell that torch does not have, or a stack with blocks, sizes or zoneout.
    """
    _check_stack(stack)
    found: _Arrays = {}
    for suffix, recurrent in _places(stack):
        own = {name: np.asarray(value[...]) for name, value in recurrent.params.items()}
        hidden_bias = np.zeros_like(own["b"])
        if "b_n" in own:
            hidden_bias[-len(own["b_n"]) :] = own["b_n"]
        found |= {
            f"weight_ih_{suffix}": np.ascontiguousarray(own["W"].T),
            f"weight_hh_{suffix}": np.ascontiguousarray(own["R"].T),
            f"bias_ih_{suffix}": own["b"],
            f"bias_hh_{suffix}": hidden_bias,
        }
    return found


def from_torch(stack: Stack, weights: Mapping[str, np.ndarray]) -> None:
    """Loads the state dict of a torch layer of the same sizes, with or without biases, into a stack.

    Matrices are copied unchanged; torch's two biases are added, with one rounding. A state dict from `to_torch` is
    restored to the last bit.

    Raises:
      ValueError: a cell that torch does not have, blocks, sizes or zoneout, missing or extra names, or an array of
        another shape.
    """
    _check_stack(stack)
    expected = {name: value.shape for name, value in to_torch(stack).items()}
    if not any(name.startswith("bias") for name in weights):
        weights = {n: np.zeros(shape) for n, shape in expected.items() if n.startswith("bias")} | dict(weights)
    _check_names(weights, expected)
    for name, shape in expected.items():
        if np.shape(weights[name]) != shape:
            raise ValueError(f"{name}: its shape is {list(np.shape(weights[name]))}, but the stack needs {list(shape)}")
    for suffix, recurrent in _places(stack):
        parts = (weights[f"{part}_{suffix}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        for name, value in _of_torch(recurrent.cell, *map(np.asarray, parts)).items():
            kept = recurrent.params[name]
            kept[...] = jnp.asarray(value, kept[...].dtype)


def _of_torch(cell: Cell, weight_ih, weight_hh, bias_ih, bias_hh) -> _Arrays:
    found = {"W": weight_ih.T, "R": weight_hh.T}
    if not cell.unit_params:
        return found | {"b": bias_ih + bias_hh}
    *outside, candidate = np.split(bias_hh, len(cell.gates))
    return found | {"b": bias_ih + np.concatenate([*outside, np.zeros_like(candidate)]), "b_n": candidate}


def to_linen(cell: Cell, params: Params) -> dict[str, dict[str, np.ndarray]]:
    """Returns the parameters of the equivalent linen `SimpleCell`, `GRUCell` or `OptimizedLSTMCell` (and `LSTMCell`).

    Args:
      params: `{"W": [in, G*H], "R": [H, G*H], "b": [G*H]}`, and `b_n` of a GRU.

    Raises:
      ValueError: a cell that flax does not have.
    """
    _check_cell(cell)
    gates = _linen_gates(cell)
    own = {name: np.split(np.asarray(params[name]), len(gates), axis=-1) for name in ("W", "R", "b")}
    biased = _flax_biased(cell)
    found: dict[str, dict[str, np.ndarray]] = {}
    for index, gate in enumerate(gates):
        for side, name in (("i", "W"), ("h", "R")):
            bias = {"bias": own["b"][index]} if side == biased else {}
            found[side + gate] = {"kernel": own[name][index]} | bias
    if "b_n" in params:
        found["hn"]["bias"] = np.asarray(params["b_n"])
    return found


def from_linen(cell: Cell, weights: _Nested) -> Params:
    """Returns the parameters of one of linen's cells as `W`, `R`, `b` (and `b_n`), to the last bit.

    Raises:
      ValueError: a cell that flax does not have, or names that are missing or too many.
    """
    _check_cell(cell)
    gates, biased = _linen_gates(cell), _flax_biased(cell)
    wanted = {f"{side}{gate}/kernel" for side in "ih" for gate in gates} | {f"{biased}{gate}/bias" for gate in gates}
    wanted |= {"hn/bias"} if cell.unit_params else set()
    _check_names([f"{name}/{part}" for name, parts in weights.items() for part in parts], wanted)

    def joined(side: str, part: str) -> Array:
        return jnp.concatenate([weights[side + gate][part] for gate in gates], axis=-1)

    found = {"W": joined("i", "kernel"), "R": joined("h", "kernel"), "b": joined(biased, "bias")}
    return found | ({"b_n": jnp.asarray(weights["hn"]["bias"])} if cell.unit_params else {})


def to_nnx(cell: Cell, params: Params) -> dict[str, dict[str, np.ndarray]]:
    """Returns the parameters of the equivalent nnx `SimpleCell`, `GRUCell` or `OptimizedLSTMCell`, in the form of
    `flax.nnx.to_pure_dict(flax.nnx.state(cell))`.

    Args:
      params: `{"W": [in, G*H], "R": [H, G*H], "b": [G*H]}`, and `b_n` of a GRU.

    Raises:
      ValueError: a cell that flax does not have, or a GRU with a `b_n` other than 0, which nnx does not have.
    """
    _check_cell(cell)
    if "b_n" in params and np.any(np.asarray(params["b_n"])):
        raise ValueError("b_n: flax.nnx.GRUCell has no bias inside the reset gate, so it must be 0; or use to_linen")
    found = {"dense_i": {"kernel": np.asarray(params["W"])}, "dense_h": {"kernel": np.asarray(params["R"])}}
    found[f"dense_{_flax_biased(cell)}"]["bias"] = np.asarray(params["b"])
    return found


def from_nnx(cell: Cell, weights: _Nested) -> Params:
    """Returns the parameters of one of nnx's cells as `W`, `R`, `b` (and `b_n`, 0), to the last bit.

    Raises:
      ValueError: a cell that flax does not have, or names that are missing or too many.
    """
    _check_cell(cell)
    biased = f"dense_{_flax_biased(cell)}"
    given = [f"{name}/{part}" for name, parts in weights.items() for part in parts]
    _check_names(given, {"dense_i/kernel", "dense_h/kernel", f"{biased}/bias"})
    found = {"W": weights["dense_i"]["kernel"], "R": weights["dense_h"]["kernel"], "b": weights[biased]["bias"]}
    own = {name: jnp.asarray(value) for name, value in found.items()}
    return own | {name: jnp.zeros(own["R"].shape[0], own["b"].dtype) for name in cell.unit_params}


def _linen_gates(cell: Cell) -> Sequence[str]:
    return cell.gates if len(cell.gates) > 1 else ("",)


def _flax_biased(cell: Cell) -> str:
    return "h" if cell.name == "lstm" else "i"


def _check_cell(cell: Cell) -> None:
    check_choice("cell", cell.name, _KNOWN)
    own, known = ((of.gates, of.combine, of.recurrence) for of in (cell, CELLS[cell.name]))
    if own != known:
        raise ValueError(f"cell: {cell.name!r} has other gates, another step or another R than in torch and flax")


def _check_stack(stack: Stack) -> None:
    _check_cell(stack.cell)
    if stack.block != "plain":
        raise ValueError(f"block: torch has no {stack.block!r} layers; use 'plain'")
    if len({*stack.widths}) > 1:
        raise ValueError("sizes: torch has no layers of different sizes in one module")
    if any(stack.layers[0][0].zoneout):
        raise ValueError("zoneout: torch has no zoneout layers")


def _check_names(found, wanted) -> None:
    for what, names in (("missing", set(wanted) - set(found)), ("unknown", set(found) - set(wanted))):
        if names:
            raise ValueError(f"{what} weights: {', '.join(sorted(names))}; expected {', '.join(sorted(wanted))}")


def _places(stack: Stack) -> list[tuple[str, Recurrent]]:
    return [
        (f"l{index}{reverse}", recurrent)
        for index, layer in enumerate(stack.layers)
        for reverse, recurrent in zip(("", "_reverse"), layer, strict=False)
    ]
