"""Flax NNX modules: recurrent layers and stacks, attention, encoder, decoder, and complete models.

A module holds parameters and calls pure functions; inside a loop over time only pure functions run.
Imports only cells and scans.
"""

from rnnlab.models.ensemble import Ensemble
from rnnlab.models.language_model import LanguageModel
from rnnlab.models.precision import compute_in
from rnnlab.models.recurrent import Stack
from rnnlab.models.seq2seq import Seq2Seq
from rnnlab.models.sequence import ManyToMany, ManyToOne

__all__ = ["Ensemble", "LanguageModel", "ManyToMany", "ManyToOne", "Seq2Seq", "Stack", "compute_in"]
