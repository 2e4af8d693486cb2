"""Gradient accumulation: the gradient of a batch as a sum over micro-batches, for batches larger than memory.

Knows `Loss` and the layout of batches, no task.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.tasks.base import Carry, Loss, ModelParams

T = TypeVar("T")
Total = Callable[[ModelParams, Any, Carry, Array], tuple[Array, tuple[Loss, ModelParams]]]


def check_accumulate(training: ConfigDict, devices: int) -> None:
    """Refuses micro-batches that `devices` cannot share evenly.

    Raises:
      UserError: names the fields.
    """
    if training.batch_size % (training.accumulate * devices):
        over = f" over {devices} devices" if devices > 1 else ""
        raise UserError(
            f"config.training.accumulate: {training.accumulate} micro-batches{over}, but config.training.batch_size="
            f"{training.batch_size} is not a multiple of {training.accumulate * devices}"
        )


def accumulate_gradients(
    total: Total, number: int, params: ModelParams, statistics: ModelParams, batch: Any, carry: Carry
) -> tuple[ModelParams, Loss, ModelParams]:
    """Computes the gradients of the mean loss of a batch, `number` micro-batches one after another.

    Totals, weights and gradients are summed, then divided once, so every label counts the same, however many a
    micro-batch has; figures are averaged. Batch norm normalises each micro-batch by its own statistics, and its running
    statistics are updated after each.

    Args:
      total: `(params, batch, carry, part) -> (total, (loss, statistics))` of the micro-batch of the number `part`.
      statistics: the running statistics of batch norms before the step.
      batch, carry: arrays `[batch]` or `[time, batch, ...]`, and `[batch, ...]`. Micro-batch i has the rows i,
        i + number, ..., so devices that share the batch share each of its parts, without communication.

    Returns:
      The gradients, the loss of the whole batch, and the statistics after it.
    """

    def add(sums: tuple[ModelParams, ModelParams], given: tuple[Array, Any, Carry]):
        gradients, statistics = sums
        part, rows, own = given
        more, (loss, statistics) = jax.grad(total, has_aux=True)(params | statistics, rows, own, part)
        return (jax.tree.map(jnp.add, gradients, more), statistics), loss

    parts = jax.tree.map(lambda v: _split(v, number, min(1, v.ndim - 1)), batch)
    carries = jax.tree.map(lambda v: _split(v, number, 0), carry)
    start = jax.tree.map(jnp.zeros_like, params), statistics
    (gradients, statistics), losses = jax.lax.scan(add, start, (jnp.arange(number), parts, carries))
    weight = losses.weight.sum()
    figures = {name: values.mean(0) for name, values in losses.figures.items()}
    loss = Loss(losses.total.sum(), weight, jax.tree.map(_join, losses.carry), figures)
    return jax.tree.map(lambda v: v / weight, gradients), loss, statistics


def _split(values: Array, number: int, axis: int) -> Array:
    """Returns rows along `axis` as `[number, ...]`, row r in part r % number."""
    shape = values.shape
    parts = values.reshape(*shape[:axis], shape[axis] // number, number, *shape[axis + 1 :])
    return jnp.moveaxis(parts, axis + 1, 0)


def _join(parts: Array) -> Array:
    """Undoes `_split` along the first axis."""
    rows = jnp.moveaxis(parts, 0, 1)
    return rows.reshape(-1, *rows.shape[2:])
