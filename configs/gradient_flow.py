"""The gradient-flow lab: each statement of the tutorial, its experiment, its figure, its verdict.

    python launch.py --config=configs/gradient_flow.py --workdir=runs/flow

Cells x clipping x initialisation x lag, on tasks whose answer lies a known number of steps back. 9 min 13 s on 2 cores
of an Intel Xeon with AVX-512 (2026-11-25, jax 0.10.2) without the studies newton, warm and generation, which take 5 min
more (`docs/parallel.md`). Of eleven statements six hold, four under a condition, and that clipping cures vanishing
gradients does not; adding over 200 steps: GRU 0.0068, LSTM 0.0072, vanilla RNN 0.171 (floor 0.167).
"""

from ml_collections import ConfigDict

from rnnlab.flow_lab.config import default_config


def get_config() -> ConfigDict:
    """The defaults of `rnnlab.flow_lab.config`."""
    return default_config()
