"""A run that learns a small language, shared by the tests of this folder."""

import random

import pytest

from rnnlab.tasks.language_model.config import default_config
from rnnlab.training.loop import train

LENGTHS = {"train": 1500, "validation": 60, "test": 80}  # sentences


def _sentences(number: int, seed: int) -> str:
    rng = random.Random(seed)
    words = ["the cat", "a dog", "one bird"], ["sees", "hears"], ["nothing.", "the sun.", "me!"]
    return "".join(" ".join(map(rng.choice, words)) + "\n" for _ in range(number))


@pytest.fixture(scope="session")
def text_files(tmp_path_factory):
    """A file for each split."""
    folder = tmp_path_factory.mktemp("text")
    for seed, (split, number) in enumerate(LENGTHS.items()):
        (folder / f"{split}.txt").write_text(_sentences(number, seed))
    return {split: str(folder / f"{split}.txt") for split in LENGTHS}


@pytest.fixture(scope="session")
def make_config(text_files):
    """`(field=value, ...) -> config` of a run that takes seconds."""

    def make(**fields):
        config = default_config()
        config.data.files.update(text_files)
        config.model.update({"cell": "gru", "features": 16})
        config.training.update({"steps": 40, "batch_size": 8, "bptt": 12, "log_every": 10, "evaluate_every": 20})
        config.training.update({"checkpoint_every": 10, "measure_every": 0, "learning_rate": 1e-2})
        config.evaluation.update({"validation_streams": 4, "warmup": 16, "samples": 0, "max_tokens": 24})
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
        return config

    return make


@pytest.fixture(scope="session")
def learnt(make_config, tmp_path_factory):
    """The work directory of a run that knows the language."""
    workdir = tmp_path_factory.mktemp("learnt") / "w"
    longer = {"training__steps": 400, "training__evaluate_every": 200, "model__features": 32, "evaluation__samples": 1}
    train(make_config(**longer), workdir)
    return workdir
