"""Recurrent cells as descriptions: pure functions and metadata, no loops and no modules.

A new cell is one file with a `Cell` and one line in `CELLS`; scans, models, tests and labs then include it.
Imports only `own`.
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
from rnnlab.own import is_own, load_own

_NONLINEAR = (RNN, RNN_RELU, GRU, GRU_RESET_BEFORE, LSTM, LSTM_LAYER_NORM, SLSTM)
_LINEAR = (MIN_GRU, MIN_GRU_LOG, MIN_LSTM, MIN_LSTM_LOG, LRU, S5, RG_LRU)
CELLS: dict[str, Cell] = {cell.name: cell for cell in (*_NONLINEAR, *_LINEAR)}

__all__ = ["CELLS", "RECURRENCES", "Cell", "Params", "State", "find_cell", "structured"]


def find_cell(name: str, known: Mapping[str, Cell] = CELLS) -> Cell:
    """Finds a cell by its name, or by name and structure of `R`: "lstm", "rnn/diagonal", "slstm/heads4".

    Your own cell is `module:NAME` or `file.py:NAME`, optionally followed by such a structure.

    Raises:
      ValueError: an unknown name or structure, a structure that the cell cannot have, or your own code cannot be
        imported or is not a `Cell`.
    """
    kind, slash, recurrence = name.partition("/")
    if is_own(name):  # the last slash may belong to the path
        kind, slash, recurrence = name.rpartition("/") if is_own(name.rpartition("/")[0]) else (name, "", "")
        found = load_own(kind)
        if not isinstance(found, Cell):
            raise ValueError(f"{kind!r} is not a Cell but of type {type(found).__name__}")
        return structured(found, recurrence) if slash else found
    if kind not in known:
        raise ValueError(
            f"unknown value {name!r}; allowed: {', '.join(known)}, these followed by /{', /'.join(RECURRENCES)}, and "
            "your own cells as module:NAME or file.py:NAME"
        )
    return structured(known[kind], recurrence) if slash else known[kind]
