"""Recurrent cells as descriptions: pure functions and facts, no loops and no modules.

A new cell is one file with a `Cell` and one line in `CELLS`; scan, models, tests and labs take it up by themselves.
Imports nothing from the rest of rnnlab.
"""

from collections.abc import Mapping

from rnnlab.cells.base import RECURRENCES, Cell, Params, State, structured
from rnnlab.cells.gru import GRU, GRU_RESET_BEFORE
from rnnlab.cells.lru import LRU, S5
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.lstm_layer_norm import LSTM_LAYER_NORM
from rnnlab.cells.minimal import MIN_GRU, MIN_GRU_LOG, MIN_LSTM, MIN_LSTM_LOG
from rnnlab.cells.rg_lru import RG_LRU
from rnnlab.cells.rnn import RNN, RNN_RELU
from rnnlab.cells.slstm import SLSTM

_NONLINEAR = (RNN, RNN_RELU, GRU, GRU_RESET_BEFORE, LSTM, LSTM_LAYER_NORM, SLSTM)
_LINEAR = (MIN_GRU, MIN_GRU_LOG, MIN_LSTM, MIN_LSTM_LOG, LRU, S5, RG_LRU)
CELLS: dict[str, Cell] = {cell.name: cell for cell in (*_NONLINEAR, *_LINEAR)}

__all__ = ["CELLS", "RECURRENCES", "Cell", "Params", "State", "find_cell", "structured"]


def find_cell(name: str, known: Mapping[str, Cell] = CELLS) -> Cell:
    """Returns a cell by its name, or by name and structure of `R`: "lstm", "rnn/diagonal", "slstm/heads4".

    Raises:
      ValueError: an unknown name or structure, or a structure that this cell cannot have.
    """
    kind, slash, recurrence = name.partition("/")
    if kind not in known:
        raise ValueError(
            f"unknown value {name!r}; allowed: {', '.join(known)}, and these followed by /{', /'.join(RECURRENCES)}"
        )
    return structured(known[kind], recurrence) if slash else known[kind]
