"""The benchmark: the cost of a recurrent layer, for every available implementation, each in its own process.

`cases.py` is the grid, `implementations/` ours and the peers, `worker.py` one process, `driver.py` the run.
Imports cells, scans, `tasks.fields`, and the top-level modules of rnnlab; `accelerator/` also models and training.
"""

from rnnlab.benchmark.cases import default_config
from rnnlab.benchmark.driver import read_grid, run

__all__ = ["default_config", "read_grid", "run"]
