"""draft"""

from ml_collections import ConfigDict

from rnnlab.training.config import default_config


def get_config() -> ConfigDict:
    config = default_config()
    config.data.name = "parallel_text"
    for side in ("source", "target"):
        config.data[side].update({"unit": "subword", "lowercase": True, "size": 5000})
    config.data.buckets = 6
    config.model.encoder.update({"features": 256, "layers": 1, "embedding": 256, "dropout": 0.4})
    config.model.decoder.update({"features": 512, "embedding": 256, "dropout": 0.4})
    config.model.tied_embeddings = True
    config.training.update(
        {
            "steps": 5000,
            "batch_size": 128,
            "learning_rate": 2e-3,
            "label_smoothing": 0.1,
            "log_every": 100,
            "evaluate_every": 500,
            "checkpoint_every": 500,
            "measure_every": 0,
            "best_metric": "bleu",
        }
    )
    config.evaluation.update({"metrics": "bleu", "length_penalty": 1.0})
    return config
