"""The gradient-flow lab: each statement of the tutorial, its experiment, its figure, its verdict.

    python launch.py --config=configs/gradient_flow.py --workdir=runs/flow

Cells x clipping x initialisation x lag, on tasks whose answer lies a known number of steps back.
"""

from ml_collections import ConfigDict

from rnnlab.flow_lab.config import default_config


def get_config() -> ConfigDict:
    """The defaults of `rnnlab.flow_lab.config`."""
    return default_config()
