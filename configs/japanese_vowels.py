"""Speakers by a vowel that they say: JapaneseVowels (Kudo, Toyama and Shimbo 1999), 270 utterances of 7 to 29 steps.

    python launch.py --config=configs/japanese_vowels.py --workdir=runs/vowels --config.data.directory=FOLDER

FOLDER holds `JapaneseVowels_TRAIN.ts.gz` and `JapaneseVowels_TEST.ts.gz` of the UEA archive.
"""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config() -> ConfigDict:
    """As for MNIST-1D; with so few utterances noise on the inputs and more dropout."""
    config = default_config()
    config.model.update({"cell": "gru", "features": 64, "bidirectional": True, "pooling": "mean_max"})
    config.data.name = "ts"
    config.data.files.update({"train": "JapaneseVowels_TRAIN.ts.gz", "test": "JapaneseVowels_TEST.ts.gz"})
    config.model.output_dropout = 0.5
    config.training.update(
        {"steps": 600, "batch_size": 32, "learning_rate": 4e-3, "input_noise": 0.3, "best_metric": "loss"}
    )
    config.training.update({"log_every": 100, "evaluate_every": 100, "checkpoint_every": 200, "measure_every": 0})
    return config
