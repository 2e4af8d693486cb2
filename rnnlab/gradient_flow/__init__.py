"""Exact measurements of gradient flow through a recurrence: for any cell, any inputs, lags of thousands.

`jacobians.py` long-term Jacobians by lag, `lyapunov.py` their growth rates, `contributions.py` each step's contribution
to the gradient of a loss, `interventions.py` remedies, `treatment.py` the same by name; `graded.py` products of many
matrices in log space. Everything is computed in float32 or better, whatever the dtype of the arguments. Imports
only cells and scans.
"""

from rnnlab.gradient_flow.contributions import StepGradients, step_gradients
from rnnlab.gradient_flow.jacobians import LagJacobians, lag_jacobians, lag_norms
from rnnlab.gradient_flow.lyapunov import kaplan_yorke_dimension, lyapunov_exponents
from rnnlab.gradient_flow.treatment import Treatment

__all__ = [
    "LagJacobians",
    "StepGradients",
    "Treatment",
    "kaplan_yorke_dimension",
    "lag_jacobians",
    "lag_norms",
    "lyapunov_exponents",
    "step_gradients",
]
