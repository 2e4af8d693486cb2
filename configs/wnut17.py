"""Rare and emerging entities: WNUT-17 (Derczynski et al. 2017), tagged words of tweets and comments.

    python launch.py --config=configs/wnut17.py --workdir=runs/wnut --config.data.directory=FOLDER

No pretrained vectors: an embedding of each word beside an LSTM over its characters in both directions.
"""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config() -> ConfigDict:
    """Words that training knows are often read as unknown, so that their spelling has to tell."""
    config = default_config()
    config.data.update({"name": "tagged", "answer": "class_per_step", "lowercase": True, "min_count": 2})
    names = ("wnut17train.conll.gz", "emerging.dev.conll.gz", "emerging.test.annotated.gz")
    config.data.files.update(dict(zip(("train", "validation", "test"), names, strict=True)))
    config.model.update({"features": 128, "bidirectional": True, "embedding": 64, "character_features": 32})
    config.model.update({"dropout": 0.5, "output_dropout": 0.5})
    config.training.update({"steps": 3000, "batch_size": 32, "learning_rate": 3e-3, "word_dropout": 0.3})
    config.training.update({"best_metric": "entity_f1", "log_every": 200, "evaluate_every": 200})
    config.training.update({"average_decay": 0.99, "checkpoint_every": 1000, "measure_every": 0})
    return config
