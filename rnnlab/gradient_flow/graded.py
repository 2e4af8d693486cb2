"""Products of many matrices, stored as orthogonal times graded times well-conditioned: nothing over- or underflows.

A product P of n x n matrices is stored as Q diag(exp(log_scale)) M, with Q orthogonal and M a product of unit triangles
with bounded entries; the method of Loh et al. 1989 ("stable matrix-multiplication algorithm") with scales in log space.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_SWEEPS = 48


class Graded(NamedTuple):
    """A product: `orthogonal` `[..., n, n]`, `log_scale` `[..., n]` (natural log), `mixing` `[..., n, n]`."""

    orthogonal: Array
    log_scale: Array
    mixing: Array


def identity(shape: tuple[int, ...], dtype) -> Graded:
    """Returns the empty product for `shape` `[..., n]`, in float32 or better."""
    dtype = jnp.promote_types(dtype, jnp.float32)
    eye = jnp.broadcast_to(jnp.eye(shape[-1], dtype=dtype), (*shape, shape[-1]))
    return Graded(eye, jnp.zeros(shape, dtype), eye)


def multiply(matrix: Array, product: Graded) -> Graded:
    """Returns `matrix` `[..., n, n]` times `product`."""
    moved = matrix @ product.orthogonal
    size = jnp.log(jnp.linalg.norm(moved, axis=-2)) + product.log_scale
    # the largest first: the triangle then only shrinks what it mixes
    moved, log_scale, mixing = _ordered(Graded(moved, product.log_scale, product.mixing), size)
    orthogonal, triangle = jnp.linalg.qr(moved)
    diagonal = jnp.abs(jnp.diagonal(triangle, axis1=-2, axis2=-1))
    log_scale, unit = log_scale + jnp.log(diagonal), _graded(triangle, diagonal, log_scale)
    return Graded(orthogonal, log_scale, unit @ mixing)


def log_singular_values(product: Graded) -> Array:
    """Returns the natural logs of the singular values `[..., n]`, descending; -inf if the product is singular.

    Values within the precision of the dtype below the largest come from a singular value decomposition. Below that, QR
    sweeps diagonalise the graded product: n sweeps leave an error of at most 1 / (e n) nats, reached if two values
    differ by 1 / n nats.
    """
    _, scale, mixing = _ordered(product, product.log_scale)
    top = jnp.max(scale, axis=-1, keepdims=True)
    dense = jnp.exp(scale - _finite(top))[..., None] * mixing
    exact = jnp.log(jnp.linalg.svd(dense, compute_uv=False)) + top

    def sweep(_, mixing: Array) -> Array:
        triangle = jnp.linalg.qr(jnp.swapaxes(mixing, -1, -2), mode="r")
        return _graded(triangle, jnp.ones_like(scale), scale)

    swept = jax.lax.fori_loop(0, _SWEEPS, sweep, mixing)
    graded = -jnp.sort(-(scale + jnp.log(jnp.abs(jnp.diagonal(swept, axis1=-2, axis2=-1)))), axis=-1)
    reach = jnp.log(jnp.finfo(scale.dtype).eps) / 2
    return jnp.where(exact - exact[..., :1] > reach, exact, graded)


def scaled_matrix(product: Graded) -> tuple[Array, Array]:
    """Returns the product `[..., n, n]` divided by its largest scale, and the log `[...]` of that scale."""
    top = _finite(jnp.max(product.log_scale, axis=-1))
    return (product.orthogonal * jnp.exp(product.log_scale - top[..., None])[..., None, :]) @ product.mixing, top


def _ordered(product: Graded, size: Array) -> Graded:
    """Returns the same product with the directions of the largest `size` `[..., n]` first."""
    order = jnp.argsort(-size, axis=-1)
    return Graded(
        jnp.take_along_axis(product.orthogonal, order[..., None, :], axis=-1),
        jnp.take_along_axis(product.log_scale, order, axis=-1),
        jnp.take_along_axis(product.mixing, order[..., None], axis=-2),
    )


def _graded(triangle: Array, diagonal: Array, log_scale: Array) -> Array:
    """Returns diag(diagonal exp(log_scale))^-1 `triangle` diag(exp(log_scale)); rows of a 0 `diagonal` are unit."""
    most = jnp.log(jnp.finfo(log_scale.dtype).max) / 2  # below the diagonal, where the triangle is 0
    ratio = jnp.exp(jnp.minimum(_finite(log_scale)[..., None, :] - _finite(log_scale)[..., None], most))
    singular = diagonal == 0
    rows = jnp.triu(triangle * ratio) / jnp.where(singular, 1, diagonal)[..., None]
    return jnp.where(singular[..., None], jnp.eye(triangle.shape[-1], dtype=triangle.dtype), rows)


def _finite(log_scale: Array) -> Array:
    return jnp.maximum(log_scale, jnp.finfo(log_scale.dtype).min / 4)
