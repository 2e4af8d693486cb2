"""Recurrent cells as descriptions: pure functions and facts, no loops and no modules.

A new cell is one file with a `Cell` and one line in `CELLS`; scan, models, tests and labs take it up by themselves.
Imports nothing from the rest of rnnlab.
"""

from rnnlab.cells.base import Cell, Params, State
from rnnlab.cells.gru import GRU, GRU_RESET_BEFORE
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.lstm_layer_norm import LSTM_LAYER_NORM
from rnnlab.cells.rnn import RNN, RNN_RELU

CELLS: dict[str, Cell] = {cell.name: cell for cell in (RNN, RNN_RELU, GRU, GRU_RESET_BEFORE, LSTM, LSTM_LAYER_NORM)}

__all__ = ["CELLS", "Cell", "Params", "State"]
