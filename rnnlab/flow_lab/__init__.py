"""The gradient-flow lab: what the tutorial says of recurrence, put to the test, and a report of what was found.

config -> studies (units of work) -> results.csv -> statements (verdicts out of the rows) -> report.
Imports everything below it; only `launch.py` and `configs/` import it.
"""

from rnnlab.flow_lab.config import default_config
from rnnlab.flow_lab.driver import run

__all__ = ["default_config", "run"]
