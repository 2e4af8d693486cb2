"""Tiny Shakespeare, character by character: 90 % of the text train, the rest validates."""

from ml_collections import ConfigDict

from rnnlab.tasks.language_model.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.files.train = "tiny_shakespeare.txt.gz"
    config.data.update({"validation_share": 0.1, "test_share": 0.0})
    config.model.update({"layers": 2, "features": 512, "variational": True, "dropout": 0.3, "output_dropout": 0.3})
    config.training.update({"steps": 2000, "batch_size": 64, "bptt": 64, "measure_every": 0, "learning_rate": 4e-3})
    return config
