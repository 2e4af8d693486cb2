"""The next chord of a chorale: JSB Chorales (Boulanger-Lewandowski et al. 2012), 229 pieces, 88 keys on or off.

    python launch.py --config=configs/jsb_chorales.py --workdir=runs/jsb --config.data.directory=FOLDER

FOLDER holds `JSB_Chorales.mat` with all splits. 287,832 parameters; test 8.163, 8.159 and 8.161 nats per step
(seeds 0, 1, 2); under two minutes on two cores of an AMD EPYC (2026-11-28, jax 0.10.2).
"""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config() -> ConfigDict:
    """Returns the config of a GRU with dropout on state and output, since so few pieces are easily overfitted."""
    config = default_config()
    config.data.update({"name": "piano_roll", "answer": "labels_per_step"})
    config.data.files.train = "JSB_Chorales.mat"
    config.model.update({"cell": "gru", "features": 256, "recurrent_dropout": 0.4, "output_dropout": 0.5})
    config.training.update({"steps": 2500, "batch_size": 16, "learning_rate": 4e-3, "average_decay": 0.99})
    config.training.update({"log_every": 100, "evaluate_every": 100, "checkpoint_every": 500, "measure_every": 0})
    return config
