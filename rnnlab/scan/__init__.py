"""Running a cell over time: one entry, `scan`, and the exact Jacobian of a step.

`reference.py` is the plain definition that every faster method must match.
Imports cells only.
"""

from rnnlab.scan.entry import METHODS, scan
from rnnlab.scan.jacobian import step_jacobian
from rnnlab.scan.plan import Plan, checkpoint_plan, resolve_plan

__all__ = ["METHODS", "Plan", "checkpoint_plan", "resolve_plan", "scan", "step_jacobian"]
