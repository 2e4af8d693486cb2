"""The plain encoder-decoder of a tutorial: the last state of the encoder starts the decoder, and nothing else passes.

    python launch.py --config=configs/tutorial_seq2seq.py --workdir=runs/tutorial

One LSTM of 256 in one direction on each side (Sutskever et al. 2014), dropout on embeddings, no attention; letters to
phones on the CMU dictionary, as in `configs/cmudict.py`, which has attention. 673,323 parameters; 132 s of training
on two cores of an AMD EPYC; test WER 39.67, PER 10.89 (beam 5; 2026-11-29, jax 0.10.2, seed 0).
"""

from ml_collections import ConfigDict

from rnnlab.tasks.seq2seq.config import default_config


def get_config() -> ConfigDict:
    """The main job's data and training; a model without attention, whose context is there at the start only."""
    config = default_config()
    side = {"cell": "lstm", "features": 256, "embedding": 64, "dropout": 0.1}
    config.model.encoder.update(side | {"bidirectional": False})
    config.model.decoder.update(side)
    config.model.update({"attention": "none", "context": "init", "bridge": "last"})
    config.training.update({"steps": 4000, "measure_every": 0})
    return config
