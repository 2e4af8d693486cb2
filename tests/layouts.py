"""Weights of torch.nn and flax.linen in the layout of `rnnlab.cells`."""

from collections.abc import Mapping

import numpy as np


def from_torch(cell: str, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0` as `W`, `R`, `b` (and `b_n` of a GRU)."""
    params = {"W": weights["weight_ih_l0"].T, "R": weights["weight_hh_l0"].T}
    in_bias, hidden_bias = weights["bias_ih_l0"], weights["bias_hh_l0"]
    if cell != "gru":
        return params | {"b": in_bias + hidden_bias}
    reset, update, candidate = np.split(hidden_bias, 3)
    return params | {"b": in_bias + np.concatenate([reset, update, np.zeros_like(candidate)]), "b_n": candidate}


def from_flax(cell: str, weights: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The parameters of linen's SimpleCell, GRUCell or OptimizedLSTMCell as `W`, `R`, `b` (and `b_n`)."""
    if cell in ("rnn", "rnn_relu"):
        return {"W": weights["i"]["kernel"], "R": weights["h"]["kernel"], "b": weights["i"]["bias"]}
    gates = {"gru": "rzn", "lstm": "ifgo"}[cell]
    params = {
        "W": np.concatenate([weights[f"i{gate}"]["kernel"] for gate in gates], axis=1),
        "R": np.concatenate([weights[f"h{gate}"]["kernel"] for gate in gates], axis=1),
    }
    biased = "i" if cell == "gru" else "h"
    params["b"] = np.concatenate([weights[f"{biased}{gate}"]["bias"] for gate in gates])
    return params | ({"b_n": weights["hn"]["bias"]} if cell == "gru" else {})
