"""Commands to actions on SCAN (Lake and Baroni 2018), a test of generalisation; the split is simple or length.

    python launch.py --config=configs/scan.py:length --workdir=runs/scan_length --config.data.directory=FOLDER

`FOLDER` has `length_train.tsv.gz` and `length_test.tsv.gz`, on each line a command, TAB, and its actions. A GRU of 50
in each direction and one of 100 with attention; `wer` is the share of outputs that are not exactly right; the loss on a
tenth of train selects the best step. Exactly right, seeds 0, 1 and 2: simple 100.0, 99.95, 100.0; length 16.0, 25.6,
29.1, with a large variance; 2 to 4 minutes on one core (`docs/results.md`).
"""

from ml_collections import ConfigDict

from rnnlab.tasks.seq2seq.config import default_config


def get_config(split: str = "simple") -> ConfigDict:
    """Returns the config for a split; all else is the same for both."""
    config = default_config()
    config.data.name = "parallel_text"
    config.data.files.update({part: f"{split}_{part}.tsv.gz" for part in ("train", "test")})
    config.data.source.unit = "symbol"
    config.data.target.unit = "symbol"
    side = {"cell": "gru", "embedding": 32, "dropout": 0.2}
    config.model.encoder.update(side | {"features": 50})
    config.model.decoder.update(side | {"features": 100})
    config.model.update({"attention": "additive"})
    config.training.update({"steps": 6000, "average_decay": 0.99, "evaluate_every": 1000, "best_metric": "loss"})
    config.training.update({"measure_every": 0})
    config.evaluation.update({"metrics": "wer", "max_tokens": 60, "beam_size": 1})
    return config
