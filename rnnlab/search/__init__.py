"""Searches over a step function, one token at a time: greedy, beam search and sampling. Independent of any model.

`base.py` is shared by all; `single.py` searches with one output per row, `beam.py` with several.
"""

from rnnlab.search.base import Hypotheses, SpecialTokens, Step
from rnnlab.search.beam import Penalties, beam_search
from rnnlab.search.single import greedy, sample

__all__ = ["Hypotheses", "Penalties", "SpecialTokens", "Step", "beam_search", "greedy", "sample"]
