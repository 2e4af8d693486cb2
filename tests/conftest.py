import os
import pathlib
import random
import tempfile

import pytest
from ml_collections import ConfigDict

from rnnlab.training import use_compile_cache
from rnnlab.training.config import default_config

# What tests compile is shared by their processes, and not left in the home of who runs them.
_CACHE = pathlib.Path(tempfile.gettempdir()) / "rnnlab_tests"
os.environ |= {"XDG_CACHE_HOME": str(_CACHE), "JAX_COMPILATION_CACHE_DIR": str(_CACHE / "xla")}
use_compile_cache()

PHONES = {letter: letter.upper() for letter in "abcdef"} | {"g": "G G"}


def _write_pairs(path: pathlib.Path, number: int, seed: int) -> None:
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefg", k=rng.randint(1, 6))) for _ in range(number)]
    path.write_text("".join(f"{w}\t{' '.join(PHONES[c] for c in w)}\n" for w in words), encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """`(field=value, ...) -> config` of an experiment that spells words and is trained in seconds."""
    folder = tmp_path_factory.mktemp("tiny")
    for seed, (split, number) in enumerate({"train": 300, "validation": 40, "test": 50}.items()):
        _write_pairs(folder / f"{split}.tsv", number, seed)

    def make(**fields) -> ConfigDict:
        config = default_config()
        config.data.update({"name": "parallel_text", "prepared": str(folder / "tfds"), "buckets": 2})
        config.data.files.update({split: str(folder / f"{split}.tsv") for split in ("train", "validation", "test")})
        config.model.encoder.update({"features": 16, "embedding": 8, "dropout": 0.1})
        config.model.decoder.update({"features": 24, "embedding": 8, "dropout": 0.1})
        config.training.update(
            {"steps": 40, "batch_size": 32, "log_every": 5, "evaluate_every": 20, "checkpoint_every": 10}
        )
        config.evaluation.update({"batch_size": 16, "beam_size": 2})
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
        return config

    return make


@pytest.fixture(scope="session")
def trained(tiny_config, tmp_path_factory):
    """A work directory that knows how to spell."""
    from rnnlab.training import train

    workdir = tmp_path_factory.mktemp("trained")
    train(tiny_config(training__steps=400, training__evaluate_every=200, training__learning_rate=1e-2), workdir)
    return workdir
