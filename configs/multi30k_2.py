"""German to English, the second model of a tutorial: a GRU whose context enters every step (Cho et al. 2014).

    python launch.py --config=configs/multi30k_2.py --workdir=runs/multi30k_2 --config.data.directory=multi30k

One layer of 512 on each side, the context in every step and in the output layer; 14,217,733 parameters, and 2,048 more
(14,219,781) with the second biases that torch keeps. Data, training and figures as in `configs/multi30k_1.py`.
"""

import pathlib
import runpy

from ml_collections import ConfigDict

_MODEL_1 = pathlib.Path(__file__).with_name("multi30k_1.py")


def get_config() -> ConfigDict:
    """Model 1's data and training; one layer of GRU on each side, the context in every step and in the output layer."""
    config = runpy.run_path(str(_MODEL_1))["get_config"]()
    stack = {"cell": "gru", "layers": 1}
    config.model.encoder.update(stack)
    config.model.decoder.update(stack)
    config.model.context = "every_step"
    return config
