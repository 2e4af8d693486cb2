"""Running a cell over time: one entry, `scan`, and the exact Jacobian of a step.

`entry.py` turns the arguments of `scan` into one `Sequences`; each method (`reference.py`, the plain definition that
all others must match, `sequential.py`, `associative.py`, `newton.py`, `kernels/`) takes that. Imports cells only.
"""

from rnnlab.scans.associative import Associative
from rnnlab.scans.entry import METHODS, methods_of, newton_scan, resolve_method, scan
from rnnlab.scans.jacobian import step_jacobian
from rnnlab.scans.kernels import Pallas
from rnnlab.scans.machine import program_for
from rnnlab.scans.newton import Newton, Report
from rnnlab.scans.plan import Plan, checkpoint_plan, resolve_plan

__all__ = [
    "METHODS",
    "Associative",
    "Newton",
    "Pallas",
    "Plan",
    "Report",
    "checkpoint_plan",
    "methods_of",
    "newton_scan",
    "program_for",
    "resolve_method",
    "resolve_plan",
    "scan",
    "step_jacobian",
]
