"""Around the recurrent layers of a stack: sizes of its layers, and pre-norm blocks.

Imports only the modules for embeddings; the recurrences are in `recurrent.py`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rnnlab.choice import check_choice
from rnnlab.models.embedding import Lookup, rows
from rnnlab.models.precision import Linear
from rnnlab.scans.product import are_ids

BLOCKS = ("plain", "residual", "prenorm")
NORMS = ("layer", "batch")
_MOMENTUM = 0.95  # of running statistics: about the last 20 steps, as in S5


def layer_sizes(block: str, features: int, layers: int, sizes: Sequence[int] | str) -> tuple[int, ...]:
    """Returns the features of each layer of a stack.

    Args:
      block, features, layers: as in `Stack`.
      sizes: of each layer, a sequence or text separated by commas; empty: `features` in each.

    Raises:
      ValueError: not whole numbers above 0, not one for each of `layers`, or given for pre-norm blocks.
    """
    parts = [part.strip() for part in sizes.split(",")] if isinstance(sizes, str) and sizes.strip() else sizes
    if not len(parts) or isinstance(parts, str):
        return (features,) * layers
    if not all(str(part).isdecimal() and int(part) for part in parts):
        raise ValueError(f"sizes: {sizes!r} must be whole numbers above 0, separated by commas")
    if len(parts) != layers:
        raise ValueError(f"sizes: {len(parts)} of them ({sizes!r}), but {layers} layers")
    if block == "prenorm":
        raise ValueError(f"sizes: {sizes!r} must be empty: all prenorm blocks have the same features")
    return tuple(int(part) for part in parts)


class PreNorm(nnx.Module):
    """The layers of a stack of pre-norm blocks around its recurrences, all of the same width.

        u = E x                                            where the inputs have another width
        u = u + dropout(glu(C h + D * v)), v = norm(u), h = recurrence(v)       in each block
        y = norm(u)                                        after the last block
        glu(z) = g * sigmoid(V g + d), g = gelu(z)

    The read-out C, D and the gated linear unit are those of S5 (Smith et al. 2023, arXiv 2208.04933, appendix G.1); the
    order is also that of the LRU (Orvieto et al. 2023, arXiv 2303.06349). D starts at 1. C reads both directions. The
    last norm is that of pre-norm Transformers: it bounds the sum over many blocks.

    Batch norm (Ioffe and Szegedy 2015, arXiv 1502.03167) uses mean and variance over all steps of the batch in
    training, and their running averages in evaluation; padding is excluded from both.

    Args:
      in_features, width: sizes of the stack's inputs, and of its blocks.
      layers: the number of blocks.
      norm: "layer" or "batch".

    Raises:
      ValueError: an unknown norm.
    """

    def __init__(self, in_features: int, width: int, layers: int, *, norm: str, rngs: nnx.Rngs):
        check_choice("norm", norm, NORMS)
        self.in_features = in_features
        biased = norm != "batch"  # batch norm removes a bias, whose gradient would be only rounding
        encoder = Linear(in_features, width, use_bias=biased, rngs=rngs) if in_features != width else None
        self.encoder = nnx.data(encoder)
        self.blocks = nnx.List([_Block(width, norm, rngs=rngs) for _ in range(layers)])
        self.norm = _make_norm(norm, width, rngs)

    def enter(
        self,
        inputs: Float[Array, "time batch in"] | Int[Array, "time batch"] | Lookup,
        valid: Bool[Array, "time batch 1"] | None,
    ) -> Float[Array, "time batch width"]:
        """Returns the input of the first block; 0 where not `valid`."""
        if isinstance(inputs, Lookup):  # to project the table costs less than to project each of its rows
            table = inputs.table if self.encoder is None else self.encoder(inputs.table)
            return _zero_padding(rows(Lookup(inputs.ids, table)), valid)
        if are_ids(inputs):
            one_hot = jnp.eye(self.in_features)
            return self.enter(Lookup(inputs, one_hot), valid)
        inputs = _zero_padding(inputs, valid)
        return _zero_padding(inputs if self.encoder is None else self.encoder(inputs), valid)

    def leave(
        self, stream: Float[Array, "time batch width"], valid: Bool[Array, "time batch 1"] | None, *, training: bool
    ) -> Float[Array, "time batch width"]:
        """Returns the output of the stack after the last block; 0 where not `valid`."""
        return _zero_padding(_normalise(self.norm, stream, valid, training), valid)


class _Block(nnx.Module):
    """The norm before the recurrent layer of a block, and the layers after it."""

    def __init__(self, width: int, norm: str, *, rngs: nnx.Rngs):
        self.norm = _make_norm(norm, width, rngs)
        self.read = Linear(width, width, rngs=rngs)
        self.skip = nnx.Param(jnp.ones((width,)))
        self.gate = Linear(width, width, rngs=rngs)

    def before(self, stream: Array, valid: Array | None, *, training: bool) -> Array:
        """Returns the input of the recurrent layer."""
        return _normalise(self.norm, stream, valid, training)

    def after(self, normed: Array, hidden: Array) -> Array:
        """Returns the block's residual update, before dropout."""
        read = jax.nn.gelu(self.read(hidden) + self.skip[...].astype(normed.dtype) * normed)
        return read * jax.nn.sigmoid(self.gate(read))


def _make_norm(kind: str, width: int, rngs: nnx.Rngs) -> nnx.LayerNorm | nnx.BatchNorm:
    if kind == "layer":
        return nnx.LayerNorm(width, rngs=rngs)
    return nnx.BatchNorm(width, momentum=_MOMENTUM, use_fast_variance=False, rngs=rngs)


def _normalise(norm: nnx.LayerNorm | nnx.BatchNorm, stream: Array, valid: Array | None, training: bool) -> Array:
    if isinstance(norm, nnx.LayerNorm):
        return norm(stream)
    return norm(stream, use_running_average=not training, mask=valid)


def _zero_padding(steps: Array, valid: Array | None) -> Array:
    return steps if valid is None else jnp.where(valid, steps, 0)
