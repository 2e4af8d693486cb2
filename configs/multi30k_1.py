"""German to English, model 1: an LSTM's last state starts another LSTM (Sutskever, Vinyals and Le 2014).

    python launch.py --config=configs/multi30k_1.py --workdir=runs/multi30k_1

draft
"""

from ml_collections import ConfigDict

from rnnlab.training.config import default_config


def get_config() -> ConfigDict:
    """Two layers of 512 on each side; spaCy's words, those seen twice, in lower case; 10 epochs."""
    config = default_config()
    config.data.update({"name": "multi30k", "language": "de-en", "buckets": 6})
    config.data.source.update({"unit": "spacy", "language": "de", "lowercase": True, "min_count": 2})
    config.data.target.update({"unit": "spacy", "language": "en", "lowercase": True, "min_count": 2})
    stack = {"cell": "lstm", "features": 512, "layers": 2, "embedding": 256, "dropout": 0.5}
    config.model.encoder.update(stack | {"bidirectional": False})
    config.model.decoder.update(stack)
    config.model.update({"attention": "none", "bridge": "last"})
    config.training.update(
        {
            "steps": 2266,  # 10 epochs of 29,000 pairs
            "batch_size": 128,
            "learning_rate": 2e-3,
            "label_smoothing": 0.1,
            "evaluate_every": 453,
            "measure_every": 0,
            "best_metric": "token_bleu",
        }
    )
    config.evaluation.update({"metrics": "token_bleu,free_running_loss", "beam_size": 1})
    return config
