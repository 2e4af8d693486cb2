"""Mixed precision: parameters and sums in float32, products and what the backward pass stores in bfloat16.

`compute_in` is the only place that chooses a dtype. It reaches every module with an attribute `dtype`: those of flax,
the two here, which replace their flax namesakes in all models, and `Recurrent`. Imports only the scans.
"""

import functools
import string
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rnnlab.choice import check_choice
from rnnlab.scans.product import at_least_float32

DTYPES = ("float32", "bfloat16")
M = TypeVar("M", bound=nnx.Module)


def compute_in(dtype: str, model: M) -> M:
    """Sets the dtype of a model's products, and of what its backward pass stores, in place; returns the model.

    With "bfloat16" the operands of every product are rounded to it, in both passes (Micikevicius et al. 2018, arXiv
    1710.03740; Kalamkar et al. 2019, arXiv 1905.12322). Parameters, sums of products, recurrent states, norms, softmax
    and the model's results stay float32. Its range is that of float32, so losses are not scaled.

    Raises:
      ValueError: another dtype, such as float16, whose range would require a scaled loss.
    """
    model.set_attributes(dtype=jnp.dtype(check_choice("dtype", dtype, DTYPES)))
    return model


def einsum(spec: str, left: Array, right: Array, *, dtype: Any) -> Array:
    """Returns `jnp.einsum` of two arrays, with operands rounded to `dtype` and sums in float32 or wider.

    Gradients are products of the same kind: that of `left` is rounded to `dtype`, that of `right`, such as weights,
    keeps the dtype of `right`.

    Args:
      spec: with one letter for each axis, each of which stands in two of the three arrays.
    """
    if not is_narrow(dtype):
        return jnp.einsum(spec, left, right)
    return _narrow(spec, left.astype(dtype), right)


def is_narrow(dtype: Any) -> bool:
    """Returns whether a dtype is narrower than float32; None, the dtype of the operands, is not."""
    return dtype is not None and at_least_float32(dtype) != dtype


def _multiply(spec: str, left: Array, right: Array) -> Array:
    return jnp.einsum(spec, left, right, preferred_element_type=at_least_float32(left.dtype))


# By jax's own rule the backward products of such a sum would have one float32 operand, and so be float32 products.
@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _narrow(spec: str, left: Array, right: Array) -> Array:
    return _multiply(spec, left, right.astype(left.dtype))


def _forward(spec: str, left: Array, right: Array) -> tuple[Array, tuple[Array, Array]]:
    return _narrow(spec, left, right), (left, right)


def _backward(spec: str, operands: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    left, right = operands
    read, made = spec.split("->")
    of_left, of_right = read.split(",")
    gradient = gradient.astype(left.dtype)
    d_left = _multiply(f"{made},{of_right}->{of_left}", gradient, right.astype(left.dtype))
    d_right = _multiply(f"{of_left},{made}->{of_right}", left, gradient)
    return d_left.astype(left.dtype), d_right.astype(right.dtype)


_narrow.defvjp(_forward, _backward)


class Linear(nnx.Linear):
    """flax's linear layer, whose product is an `einsum` of this module; the bias is added in float32.

    Args:
      in_features, out_features, options: as in flax.
      wide: results stay float32, whatever the dtype: logits, scores of a softmax, states.
    """

    def __init__(self, in_features: int, out_features: int, *, wide: bool = False, **options: Any):
        super().__init__(in_features, out_features, **options)
        self.wide = wide

    def __call__(self, inputs: Float[Array, "... in"], out_sharding: Any = None) -> Float[Array, "... out"]:
        """Applies the layer to the last axis."""
        if not is_narrow(self.dtype):
            return super().__call__(inputs, out_sharding)
        found = _times("io", inputs, self.kernel[...], self.dtype)
        if self.bias is not None:
            found += self.bias[...]
        return found if self.wide else found.astype(self.dtype)


class Embed(nnx.Embed):
    """flax's embedding, whose gradient is summed in float32 for any dtype; `attend` returns float32 logits."""

    def __call__(self, inputs: Int[Array, "..."], out_sharding: Any = None) -> Float[Array, "... features"]:
        """Returns the embeddings of ids; NaN for an id outside the table."""
        if not is_narrow(self.dtype):
            return super().__call__(inputs, out_sharding)
        return jnp.take(self.embedding[...], inputs, axis=0).astype(self.dtype)

    def attend(self, query: Float[Array, "... features"], out_sharding: Any = None) -> Float[Array, "... vocabulary"]:
        """Returns the product of each query with each embedding."""
        if not is_narrow(self.dtype):
            return super().attend(query, out_sharding)
        return _times("oi", query, self.embedding[...], self.dtype)


def _times(of_weights: str, rows: Array, weights: Array, dtype: Any) -> Array:
    """Returns the product of the last axis of `rows`, `i`, with weights, `io` or `oi`."""
    axes = string.ascii_uppercase[: rows.ndim - 1]
    return einsum(f"{axes}i,{of_weights}->{axes}o", rows, weights, dtype=dtype)
