"""Spam detection: the SMS Spam Collection (Almeida, Hidalgo and Yamakami 2011), 5,574 messages, every fifth is test.

python launch.py --config=configs/sms_spam.py --workdir=runs/spam --config.data.files.train=FOLDER/sms.tsv.gz

A bidirectional GRU over subwords. Test (seeds 0, 1, 2): accuracy 98.74, 98.56, 98.65; F1 of spam 95.65, 95.06, 95.41;
half a minute on two cores of an AMD EPYC (2026-11-28, jax 0.10.2).
"""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config() -> ConfigDict:
    """Returns the config of a bidirectional GRU over subwords, with mean and max pooling."""
    config = default_config()
    config.model.update({"cell": "gru", "features": 64, "bidirectional": True, "pooling": "mean_max"})
    config.data.update({"name": "labelled_text", "test_every": 5, "unit": "subword", "size": 4000, "buckets": 4})
    config.model.update({"embedding": 64, "dropout": 0.3, "output_dropout": 0.5})
    config.training.update({"steps": 1200, "batch_size": 32, "learning_rate": 3e-3, "word_dropout": 0.1})
    config.training.update({"log_every": 100, "evaluate_every": 100, "best_metric": "macro_f1"})
    config.training.update({"checkpoint_every": 200, "average_decay": 0.99, "measure_every": 0})
    return config
