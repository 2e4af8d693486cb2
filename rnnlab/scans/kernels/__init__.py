"""Fused kernels: all steps of a pass in one launch, for every cell whose `combine` is pointwise in the units.

`combine` is traced inside the kernel (`gates.py`). The kernels (`forward.py`, `backward.py`) replace the loops of the
sequential scan and nothing else: products over all steps, masks, lengths and ids are those of `rnnlab.scans`.
"""

from rnnlab.scans.kernels.method import run
from rnnlab.scans.kernels.settings import Pallas, is_pointwise

__all__ = ["Pallas", "is_pointwise", "run"]
