"""From the encoder's last states to the decoder's initial ones, also between different cells and sizes."""

import jax.numpy as jnp
from flax import nnx

from rnnlab.cells import State
from rnnlab.choice import check_choice
from rnnlab.models.precision import Linear
from rnnlab.models.recurrent import Stack

BRIDGES = ("last", "dense", "zero")


class Bridge(nnx.Module):
    """Initial states of a decoder stack.

    Layer by layer if encoder and decoder have equally many; otherwise each decoder layer starts from the encoder's top
    layer. An entry of the decoder's state (such as `c` of an LSTM) is computed from the encoder's entry of the same
    name, or else from its `h`.

        last    the encoder's state itself (Sutskever et al. 2014); sizes must agree
        dense   tanh(state K + b), one K for each layer and entry (Bahdanau et al. 2015)
        zero    the decoder's own initial state, zero or learnt

    Raises:
      ValueError: an unknown kind, "last" between different sizes, or a learnt initial state that would not be used.
    """

    def __init__(self, kind: str, encoder: Stack, decoder: Stack, *, rngs: nnx.Rngs):
        self.kind = check_choice("bridge", kind, BRIDGES)
        layers = len(decoder.widths)
        sizes = encoder.widths if len(encoder.widths) == layers else encoder.widths[-1:] * layers
        pairs = list(zip(sizes, decoder.widths, strict=True))
        if kind == "last" and (unequal := [pair for pair in pairs if len({*pair}) > 1]):
            raise ValueError(
                f"bridge: 'last' copies the encoder's state, but it has {unequal[0][0]} features and the "
                f"decoder's {unequal[0][1]}; make them equal or use 'dense' or 'zero'"
            )
        if kind != "zero" and decoder.layers[0][0].start:
            raise ValueError(f"bridge: {kind!r} sets the decoder's state, so it cannot be learnt; use 'zero' for that")
        self.source_names, self.target_names = encoder.cell.state_names, decoder.cell.state_names
        dense = [{name: Linear(read, made, wide=True, rngs=rngs) for name in self.target_names} for read, made in pairs]
        self.dense = nnx.List([nnx.Dict(layer) for layer in dense] if kind == "dense" else [])

    def __call__(self, encoded: tuple[State, ...], initial: tuple[State, ...]) -> tuple[State, ...]:
        """Returns the decoder's initial states `[batch, features]`, from the encoder's last and its own ones."""
        if self.kind == "zero":
            return initial
        sources = encoded if len(encoded) == len(initial) else encoded[-1:] * len(initial)
        named = [dict(zip(self.source_names, state, strict=True)) for state in sources]
        picked = [tuple(layer.get(name, layer["h"]) for name in self.target_names) for layer in named]
        if self.kind == "last":
            return tuple(picked)
        return tuple(
            tuple(jnp.tanh(dense[name](entry)) for name, entry in zip(self.target_names, state, strict=True))
            for dense, state in zip(self.dense, picked, strict=True)
        )
