"""draft"""

from ml_collections import ConfigDict

from rnnlab.training.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.update({"name": "sigmorphon2020", "language": "kor", "buckets": 4})
    config.data.source.normal_form = "auto"
    side = {"embedding": 128, "dropout": 0.3, "output_dropout": 0.3, "recurrent_dropout": 0.3}
    config.model.encoder.update(side | {"features": 192, "layers": 1})
    config.model.decoder.update(side | {"features": 384})
    config.training.update(
        {
            "steps": 3500,
            "batch_size": 64,
            "learning_rate": 3e-3,
            "label_smoothing": 0.1,
            "log_every": 250,
            "evaluate_every": 250,
            "checkpoint_every": 10000,
            "measure_every": 0,
        }
    )
    return config
