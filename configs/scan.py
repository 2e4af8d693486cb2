"""Commands to actions on SCAN (Lake and Baroni 2018), a test of generalisation; the split is simple or length.

    python launch.py --config=configs/scan.py:length --workdir=runs/scan_length --config.data.files.train=\
length_train.tsv.gz --config.data.files.test=length_test.tsv.gz

A small GRU with attention; the score is `wer`, the share of outputs that are not exactly right.
"""

from ml_collections import ConfigDict

from rnnlab.tasks.seq2seq.config import default_config


def get_config(split: str = "simple") -> ConfigDict:
    """The files, a command TAB its actions a line, are named by flags."""
    config = default_config()
    config.data.name = "parallel_text"
    config.data.source.unit = "symbol"
    side = {"cell": "gru", "embedding": 64, "dropout": 0.5}
    config.model.encoder.update(side | {"features": 64})
    config.model.decoder.update(side | {"features": 128})
    config.model.update({"attention": "additive"})
    config.training.update({"steps": 4000, "evaluate_every": 1000, "measure_every": 0})
    config.evaluation.update({"metrics": "wer", "max_tokens": 60, "beam_size": 1})
    return config
