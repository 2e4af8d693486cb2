"""German to English, the third model of a tutorial: a bidirectional GRU and additive attention (Bahdanau et al. 2015).

    python launch.py --config=configs/multi30k_3.py --workdir=runs/multi30k_3 --config.data.directory=multi30k

512 in each direction and in the decoder; 20,515,333 parameters (20,518,405 with torch's 3,072 second biases). Data,
comparison and training as in `configs/multi30k_1.py`, except for the teacher-forcing ratio: it falls from 1 to 0.25 in
the first three quarters (a mean of 0.53, where the tutorial has 0.5).
"""

import pathlib
import runpy

from ml_collections import ConfigDict

_MODEL_1 = pathlib.Path(__file__).with_name("multi30k_1.py")


def get_config() -> ConfigDict:
    """Returns the config of model 1 with one bidirectional GRU layer and additive attention."""
    config = runpy.run_path(str(_MODEL_1))["get_config"]()
    config.model.encoder.update({"cell": "gru", "layers": 1, "bidirectional": True})
    config.model.decoder.update({"cell": "gru", "layers": 1})
    config.model.update({"attention": "additive", "bridge": "dense", "teacher_forcing": 0.25})
    config.training.teacher_forcing_decay = "linear:4.4e-4"
    return config
