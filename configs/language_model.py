"""A first language model: the spelling of English words (CMU dictionary), character by character.

    python launch.py --config=configs/language_model.py --workdir=runs/lm
    python launch.py --workdir=runs/lm --mode=predict --temperature=1 --stop=line < beginnings.txt > words.txt

An LSTM of 256 over one-hot characters, 306,722 parameters; 64 streams, one-cycle Adam. `config.data.files` selects
another text, `config.data.unit` another unit: `docs/language_model.md`. Test: 2.307 nats, 3.33 bits per
character; 75 s on two cores of an AMD EPYC (2026-11-28, jax 0.10.2, seed 0).
"""

from ml_collections import ConfigDict

from rnnlab.tasks.language_model.config import default_config


def get_config() -> ConfigDict:
    """Returns the defaults of `rnnlab.tasks.language_model.config`, for 3 epochs."""
    config = default_config()
    config.training.update({"steps": 800, "batch_size": 64, "evaluate_every": 200, "measure_every": 0})
    return config
