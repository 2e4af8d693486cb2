"""The gradient-flow lab: each statement of the tutorial, its experiment, its figure, its verdict.

    python launch.py --config=configs/gradient_flow.py --workdir=runs/flow

Cells x clipping x initialisation x lag, on problems whose answer lies a known number of steps back. 12 min 28 s on two
cores of an AMD EPYC (2026-11-28, jax 0.10.2). Of fourteen statements seven hold, six under a condition, and that
clipping cures vanishing gradients does not; adding over 200 steps: GRU 0.0068, LSTM 0.0069, vanilla RNN 0.170 (floor
0.167).
"""

from ml_collections import ConfigDict

from rnnlab.flow_lab.config import default_config


def get_config() -> ConfigDict:
    """The defaults of `rnnlab.flow_lab.config`."""
    return default_config()
