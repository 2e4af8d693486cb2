"""The benchmark: what a recurrent layer costs, for every implementation at hand, each in a process of its own.

`cases.py` is the grid, `implementations/` ours and the peers, `worker.py` one process, `driver.py` the run.
Imports cells, scan, `tasks.fields`, and the modules of rnnlab that are in no folder; `accelerator/` also models and
training.
"""

from rnnlab.benchmark.cases import default_config
from rnnlab.benchmark.driver import read_grid, run

__all__ = ["default_config", "read_grid", "run"]
