"""German to English, the first model of a tutorial: an LSTM starts from another's last state (Sutskever et al. 2014).

    python launch.py --config=configs/multi30k_1.py --workdir=runs/multi30k_1 --config.data.directory=multi30k

Two layers of 512 on each side, embeddings of 256; 13,890,309 parameters (13,898,501 with torch's 8,192 second biases).
spaCy's words in lower case that occur at least twice: 7,853 and 5,893 including the four special tokens. Without
`data.directory` the files are downloaded. `docs/results.md` compares the results with the tutorial's.
"""

from ml_collections import ConfigDict

from rnnlab.tasks.seq2seq.config import default_config


def get_config() -> ConfigDict:
    """Returns the config: two layers of 512 on each side, lower-case spaCy words that occur twice, 10 epochs."""
    config = default_config()
    config.data.update({"name": "multi30k", "language": "de-en", "buckets": 6})
    config.data.source.update({"unit": "spacy", "language": "de", "lowercase": True, "min_count": 2})
    config.data.target.update({"unit": "spacy", "language": "en", "lowercase": True, "min_count": 2})
    stack = {"cell": "lstm", "features": 512, "layers": 2, "embedding": 256, "dropout": 0.5}
    config.model.encoder.update(stack | {"bidirectional": False})
    config.model.decoder.update(stack)
    config.model.update({"attention": "none", "bridge": "last", "teacher_forcing": 0.5})
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
