"""War and Peace by characters, in the split of Karpathy, Johnson and Li 2015 (arXiv 1506.02078).

    python launch.py --config=configs/war_and_peace.py --workdir=runs/war_and_peace --config.data.directory=text
    python launch.py --config=configs/war_and_peace.py:gpu --workdir=runs/war_and_peace_gpu --config.data.directory=text

Two GRUs of 512 over one-hot characters with variational dropout; 64 streams, one-cycle Adam, 11 epochs: 1.164 nats per
character on test after 51 minutes on two cores. "gpu" has three LSTMs of 1024 with weight dropping, and 57 epochs; it
has not been run yet. `data.directory` holds the three files.
"""

from typing import Any

from ml_collections import ConfigDict

from rnnlab.tasks.language_model.config import default_config

_MODELS: dict[str, dict[str, Any]] = {
    "": {"cell": "gru", "layers": 2, "features": 512, "dropout": 0.2, "output_dropout": 0.2},
    "gpu": {"layers": 3, "features": 1024, "dropout": 0.4, "output_dropout": 0.4, "weight_drop": 0.3},
}
_TRAININGS: dict[str, dict[str, Any]] = {
    "": {"steps": 8000, "bptt": 50, "learning_rate": 3e-3, "evaluate_every": 2000},
    "gpu": {"steps": 16000, "bptt": 128, "learning_rate": 2e-3, "steps_per_call": 20, "checkpoint_every": 1000},
}


def get_config(name: str = "") -> ConfigDict:
    """Returns the config of the model for two cores, or of "gpu"."""
    if name not in _MODELS:
        raise ValueError(f"configs/war_and_peace.py: unknown {name!r}; allowed: gpu, or empty")
    config = default_config()
    parts = {"train": "train", "validation": "valid", "test": "test"}
    config.data.files.update({split: f"war_and_peace_{part}.txt.gz" for split, part in parts.items()})
    config.model.update({"variational": True, **_MODELS[name]})
    config.training.update({"batch_size": 64, "measure_every": 0, **_TRAININGS[name]})
    return config
