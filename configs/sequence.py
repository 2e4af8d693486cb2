"""A class from a sequence: MNIST-1D (Greydanus and Kobak 2024), 4,000 sequences of 40 steps, made by its package.

    python launch.py --config=configs/sequence.py --workdir=runs/mnist1d

A bidirectional GRU of 64, the mean and the maximum of its outputs, 28 thousand parameters.
"""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config() -> ConfigDict:
    """Files of your own: `data.name`, `data.files.train`, `data.files.test` and `data.answer`; docs/sequences.md."""
    config = default_config()
    config.model.update({"cell": "gru", "features": 64, "bidirectional": True, "pooling": "mean_max"})
    config.model.output_dropout = 0.2
    config.training.update({"steps": 4000, "batch_size": 64, "learning_rate": 4e-3, "best_metric": "accuracy"})
    config.training.update({"log_every": 200, "evaluate_every": 200, "checkpoint_every": 1000, "measure_every": 0})
    return config
