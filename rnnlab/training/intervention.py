"""`training.intervention`: what is done to every recurrence of a model, at its start and after every step."""

from collections.abc import Callable

import jax
from flax import nnx
from jax import Array

from rnnlab.cells import Cell, Params
from rnnlab.errors import UserError
from rnnlab.gradient_flow import Treatment
from rnnlab.models.recurrent import Recurrent

_MARK = "/params/"  # between a recurrence's path and the names of its cell's parameters


class Intervention:
    """The treatment that a config names, for all recurrences of a model.

    Args:
      text: `training.intervention`.
      model: whose recurrences are treated; only its structure counts.
      seed: of what is drawn at the start.

    Raises:
      UserError: a treatment that does not exist, that one of the cells has no gate for, or that needs the gradient-flow
        lab (flossing).
    """

    def __init__(self, text: str, model: nnx.Module, seed: int):
        found = {"/".join(map(str, path)): node for path, node in nnx.iter_graph(model) if isinstance(node, Recurrent)}
        self._cells, self._seed = {path: node.cell for path, node in found.items()}, seed
        try:
            self._treatment = Treatment.read(text)
        except ValueError as error:
            raise UserError(f"config.training.intervention: {error}") from None
        if self._treatment.flossing_steps or self._treatment.penalty:
            raise UserError(f"config.training.intervention: {text!r}: flossing is for configs/gradient_flow.py only")
        for path, cell in self._cells.items():
            if not self._treatment.fits(cell):
                raise UserError(
                    f"config.training.intervention: {text!r} needs a gate or a dense R, which {cell.name} of "
                    f"{path} lacks"
                )

    def start(self, params: dict[str, Array], *, longest: int) -> dict[str, Array]:
        """Initial parameters; `longest` is the longest sequence, in steps."""
        key = jax.random.key(self._seed)

        def treat(index: int, cell: Cell, own: Params) -> Params:
            return self._treatment.start(cell, own, jax.random.fold_in(key, index), longest=longest)

        return self._each(params, treat)

    def constrain(self, params: dict[str, Array]) -> dict[str, Array]:
        """The parameters within what must hold after every step."""
        return self._each(params, lambda _, cell, own: self._treatment.constrain(cell, own))

    def _each(self, params: dict[str, Array], treat: Callable[[int, Cell, Params], Params]) -> dict[str, Array]:
        groups: dict[str, Params] = {}
        for name, value in params.items():
            recurrence, mark, own_name = name.partition(_MARK)
            if mark:
                groups.setdefault(recurrence, {})[own_name] = value
        for index, (recurrence, own) in enumerate(groups.items()):
            treated = treat(index, self._cells[recurrence], own)
            params = params | {f"{recurrence}{_MARK}{name}": value for name, value in treated.items()}
        return params
