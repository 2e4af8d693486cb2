"""A class from a sequence: MNIST-1D (Greydanus and Kobak 2024), 4,000 sequences of 40 steps, made by its package.

    python launch.py --config=configs/sequence.py --workdir=runs/mnist1d

A GRU of 96, the mean and the maximum of its outputs; `configs/mnist1d.py` has more dropout and is better.
"""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config() -> ConfigDict:
    """Files of your own: `data.name`, `data.files.train`, `data.files.test` and `data.answer`; docs/sequences.md."""
    config = default_config()
    config.model.update({"cell": "gru", "features": 96, "pooling": "mean_max", "output_dropout": 0.2})
    config.training.update({"steps": 3000, "batch_size": 64, "learning_rate": 4e-3, "average_decay": 0.99})
    config.training.update({"log_every": 200, "evaluate_every": 200, "checkpoint_every": 1000, "measure_every": 0})
    return config
