"""`training.intervention`: what is done to every recurrence of a seq2seq model, at its start and after every step."""

from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from rnnlab.cells import Cell, Params, find_cell
from rnnlab.errors import UserError
from rnnlab.gradient_flow import Treatment
from rnnlab.training.step import ModelParams

_MARK = "/params/"  # between a recurrence's name and the names of its cell's parameters


class Intervention:
    """The treatment that a config names, for all recurrences.

    Raises:
      UserError: a treatment that does not exist, that one of the cells has no gate for, or that needs the gradient-flow
        lab (flossing).
    """

    def __init__(self, config: ConfigDict):
        self._cells = {side: find_cell(config.model[side].cell) for side in ("encoder", "decoder")}
        self._seed, text = config.seed, config.training.intervention
        try:
            self._treatment = Treatment.read(text)
        except ValueError as error:
            raise UserError(f"config.training.intervention: {error}") from None
        if self._treatment.flossing_steps or self._treatment.penalty:
            raise UserError(f"config.training.intervention: {text!r}: flossing is for configs/gradient_flow.py only")
        for side, cell in self._cells.items():
            if not self._treatment.fits(cell):
                raise UserError(
                    f"config.training.intervention: {text!r} needs a gate or a dense R, which the {side}'s "
                    f"{cell.name} lacks"
                )

    def start(self, params: ModelParams, *, longest: int) -> ModelParams:
        """Initial parameters; `longest` is the longest sequence, in steps."""
        key = jax.random.key(self._seed)

        def treat(index: int, cell: Cell, own: Params) -> Params:
            return self._treatment.start(cell, own, jax.random.fold_in(key, index), longest=longest)

        return self._each(params, treat)

    def constrain(self, params: ModelParams) -> ModelParams:
        """The parameters within what must hold after every step."""
        return self._each(params, lambda _, cell, own: self._treatment.constrain(cell, own))

    def _each(self, params: ModelParams, treat: Callable[[int, Cell, Params], Params]) -> ModelParams:
        groups: dict[str, Params] = {}
        for name, value in params.items():
            recurrence, mark, own_name = name.partition(_MARK)
            if mark:
                groups.setdefault(recurrence, {})[own_name] = value
        for index, (recurrence, own) in enumerate(groups.items()):
            treated = treat(index, self._cells[recurrence.split("/")[0]], own)
            params = params | {f"{recurrence}{_MARK}{name}": value for name, value in treated.items()}
        return params
