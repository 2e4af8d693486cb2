"""Rare and emerging entities: WNUT-17 (Derczynski et al. 2017), tagged words of tweets and comments.

    python launch.py --config=configs/wnut17.py --workdir=runs/wnut --config.data.directory=FOLDER

No pretrained vectors: word embeddings and a bidirectional LSTM over the characters of each word; rarer classes have
larger weights. Entity F1, seeds 0, 1 and 2: test 15.5, 16.0, 17.4; validation 33.3, 33.7, 34.6; 2 minutes on one core.
`docs/results.md` lists other settings that were tried.
"""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config() -> ConfigDict:
    """Returns the config; words seen once, and a random tenth, are read as unknown, so the model relies on spelling."""
    config = default_config()
    config.data.update({"name": "tagged", "answer": "class_per_step", "lowercase": True, "min_count": 2})
    names = ("wnut17train.conll.gz", "emerging.dev.conll.gz", "emerging.test.annotated.gz")
    config.data.files.update(dict(zip(("train", "validation", "test"), names, strict=True)))
    config.model.update({"features": 128, "bidirectional": True, "embedding": 64, "character_features": 32})
    config.model.update({"dropout": 0.3, "output_dropout": 0.3})
    config.training.update({"steps": 800, "batch_size": 32, "learning_rate": 3e-3, "word_dropout": 0.1})
    config.training.update({"class_weights": 0.5, "average_decay": 0.98, "best_metric": "entity_f1"})
    config.training.update({"log_every": 100, "evaluate_every": 100, "checkpoint_every": 100, "measure_every": 0})
    return config
