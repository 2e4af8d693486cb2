"""`training.intervention`: interventions on every recurrence of a model, at its start and after every step."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from rnnlab.cells import Cell, Params
from rnnlab.errors import UserError
from rnnlab.gradient_flow import Treatment
from rnnlab.gradient_flow.interventions import flossing_penalty
from rnnlab.models.recurrent import Recurrent
from rnnlab.tasks.base import ModelParams
from rnnlab.training.watch import Record, recurrent_cells

_MARK = "/params/"  # between a recurrence's path and the names of its cell's parameters
_FLOSSED, _FLOSSING_RATE = 16, 1e-3  # number of exponents to bring to 0, and Adam's learning rate for it
_PENALIZED = 2  # sequences in a training step with a penalty on their exponents


class Intervention:
    """The treatment named by a config, for all recurrences of a model.

    Args:
      text: `training.intervention`.
      model: the model to treat; only its structure matters.
      watch: runs the model with given parameters on a few sequences and records each recurrence; flossing needs it.

    Raises:
      UserError: an unknown treatment, or one that a cell does not support.
    """

    def __init__(
        self, text: str, model: nnx.Module, watch: Callable[[ModelParams], Mapping[str, Record]] = lambda params: {}
    ):
        found = {"/".join(map(str, path)): node for path, node in nnx.iter_graph(model) if isinstance(node, Recurrent)}
        self._cells, self._watch = {path: node.cell for path, node in found.items()}, watch
        self._watched_cells = recurrent_cells(model)
        try:
            self._treatment = Treatment.read(text)
        except ValueError as error:
            raise UserError(f"config.training.intervention: {error}") from None
        for path, cell in self._cells.items():
            if missing := self._treatment.missing(cell):
                raise UserError(
                    f"config.training.intervention: {text!r} needs {missing}, which {cell.name} of {path} lacks"
                )
        self._floss = jax.jit(self._flossed)

    def start(self, params: ModelParams, *, seed: int, longest: int) -> ModelParams:
        """Makes initial parameters from those of the model.

        Args:
          seed: of the random draws.
          longest: steps of the longest sequence.
        """
        key = jax.random.key(seed)

        def treat(index: int, cell: Cell, own: Params) -> Params:
            return self._treatment.start(cell, own, jax.random.fold_in(key, index), longest=longest)

        params = self._each(params, treat)
        return self._floss(params) if self._treatment.flossing_steps else params

    def constrain(self, params: ModelParams) -> ModelParams:
        """Returns the parameters, projected onto the constraints that hold after every step."""
        return self._each(params, lambda _, cell, own: self._treatment.constrain(cell, own))

    @property
    def flosses(self) -> bool:
        """Whether the recurrences are watched, to bring their Lyapunov exponents nearer to 0."""
        return bool(self._treatment.flossing_steps or self._treatment.penalty)

    @property
    def penalty(self) -> Callable[[ModelParams], Array] | None:
        """Returns the penalty on the loss, as a function of the parameters, or None."""
        weight = self._treatment.penalty
        return (lambda params: weight * self._unevenness(params, _PENALIZED)) if weight else None

    def _each(self, params: ModelParams, treat: Callable[[int, Cell, Params], Params]) -> ModelParams:
        groups: dict[str, Params] = {}
        for name, value in params.items():
            recurrence, mark, own_name = name.partition(_MARK)
            if mark:
                groups.setdefault(recurrence, {})[own_name] = value
        for index, (recurrence, own) in enumerate(groups.items()):
            treated = treat(index, self._cells[recurrence], own)
            params = params | {f"{recurrence}{_MARK}{name}": value for name, value in treated.items()}
        return params

    def _flossed(self, params: ModelParams) -> ModelParams:
        """Returns the parameters after steps of Adam that bring Lyapunov exponents nearer to 0, at constant inputs."""
        optimizer = optax.adam(_FLOSSING_RATE)

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(self._unevenness)(params), state)
            return (optax.apply_updates(params, updates), state), None

        start = params, optimizer.init(params)
        return jax.lax.scan(step, start, length=self._treatment.flossing_steps)[0][0]

    def _unevenness(self, params: ModelParams, sequences: int | None = None) -> Array:
        """Returns the penalty of gradient flossing, summed over the recurrences, for given inputs and first states."""
        total = jnp.zeros(())
        for name, record in self._watch(params).items():
            cell = self._watched_cells[name]
            inputs = jax.lax.stop_gradient(record.inputs[:, :sequences])
            state = tuple(jax.lax.stop_gradient(entry[:sequences]) for entry in record.state)
            exponents = min(_FLOSSED, cell.features(record.params))
            total += flossing_penalty(cell, record.params, inputs, exponents=exponents, state=state)
        return total
