from ml_collections import ConfigDict

from rnnlab.training.config import default_config


def get_config() -> ConfigDict:
    """The main job's model, wider and with a second encoder layer, on the same data."""
    config = default_config()
    config.model.encoder.update({"features": 192, "layers": 2, "embedding": 96, "dropout": 0.2})
    config.model.decoder.update({"features": 384, "embedding": 96, "dropout": 0.2})
    config.training.update(
        {
            "steps": 24_000,
            "batch_size": 128,
            "learning_rate": 2e-3,
            "label_smoothing": 0.1,
            "log_every": 200,
            "evaluate_every": 2000,
            "checkpoint_every": 1000,
        }
    )
    return config
