"""German to English: our best model with at most 20.5 M parameters and two hours on two cores.

    python launch.py --config=configs/multi30k_best.py --workdir=runs/multi30k_best --config.data.directory=multi30k

A bidirectional LSTM of 256 and an LSTM of 512 with attention ("general" of Luong et al. 2015); byte pairs in lower case
(5,000 on each side), which are lossless and leave no unknown tokens; tied embeddings; 6,633,608 parameters. Without
`data.directory` the files are downloaded. Results: `docs/results.md`.
"""

from ml_collections import ConfigDict

from rnnlab.tasks.seq2seq.config import default_config


def get_config() -> ConfigDict:
    """Returns the config, with much dropout against overfitting and averaged parameters."""
    config = default_config()
    config.data.update({"name": "multi30k", "language": "de-en", "buckets": 6})
    for side in ("source", "target"):
        config.data[side].update({"unit": "subword", "lowercase": True, "size": 5000})
    noise = {"dropout": 0.4, "output_dropout": 0.3, "recurrent_dropout": 0.2}
    config.model.encoder.update(noise | {"features": 256, "embedding": 256})
    config.model.decoder.update(noise | {"features": 512, "embedding": 256})
    config.model.tied_embeddings = True
    config.training.update(
        {
            "steps": 6000,
            "batch_size": 128,
            "learning_rate": 2e-3,
            "label_smoothing": 0.1,
            "average_decay": 0.998,
            "evaluate_every": 500,
            "measure_every": 0,
            "best_metric": "bleu",
        }
    )
    config.evaluation.update({"metrics": "bleu,chrf", "length_penalty": 1.0})
    return config
