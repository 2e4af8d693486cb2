"""German to English, the second model of a tutorial: a GRU whose context enters every step (Cho et al. 2014).

    python launch.py --config=configs/multi30k_2.py --workdir=runs/multi30k_2 --config.data.directory=multi30k

One layer of 512 on each side, the context in every step and in the output layer; 14,217,733 parameters (14,219,781 with
torch's 2,048 second biases). Data, training and comparison as in `configs/multi30k_1.py`.
"""

import pathlib
import runpy

from ml_collections import ConfigDict

_MODEL_1 = pathlib.Path(__file__).with_name("multi30k_1.py")


def get_config() -> ConfigDict:
    """Returns the config of model 1 with one GRU on each side, the context in every step and in the output layer."""
    config = runpy.run_path(str(_MODEL_1))["get_config"]()
    stack = {"cell": "gru", "layers": 1}
    config.model.encoder.update(stack)
    config.model.decoder.update(stack)
    config.model.context = "every_step"
    return config
