"""A language model, to begin with: the spelling of English words, character by character.

python launch.py --config=configs/language_model.py --workdir=runs/lm
"""

from ml_collections import ConfigDict

from rnnlab.tasks.language_model.config import default_config


def get_config() -> ConfigDict:
    """An LSTM of 256 over one-hot characters; other texts by `config.data.files`."""
    config = default_config()
    config.training.update({"steps": 1000, "batch_size": 64, "bptt": 64, "evaluate_every": 250, "measure_every": 0})
    return config
