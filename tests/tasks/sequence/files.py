"""Small files of sequences that are learnt in a second, and their configs."""

import pathlib

import numpy as np
from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config

SIZES = {"train": 120, "validation": 30, "test": 40}


def ts(folder: pathlib.Path) -> dict[str, str]:
    """Two channels of 3 to 6 steps; the class is the channel with the larger sum."""
    return _written(folder, "ts", lambda split, rng, number: _ts(rng, number))


def numbers(folder: pathlib.Path) -> dict[str, str]:
    """The same sequences; the answer is 10 times the sum of the first channel, and 5."""
    return _written(folder, "ts", lambda split, rng, number: _ts(rng, number, "@targetlabel true"))


def texts(folder: pathlib.Path) -> dict[str, str]:
    """Letters; the class is whether there is a "z"."""

    def make(split, rng, number):
        lines = []
        for _ in range(number):
            text = "".join(rng.choice(list("abcdz"), rng.integers(1, 5)))
            lines.append(f"{'yes' if 'z' in text else 'no'}\t{text}")
        return "\n".join(lines) + "\n"

    return _written(folder, "tsv", make)


def tagged(folder: pathlib.Path) -> dict[str, str]:
    """Words, of which names are capitalised and may have two parts."""

    def make(split, rng, number):
        sentences = []
        for _ in range(number):
            words = []
            for _ in range(rng.integers(2, 6)):
                if rng.random() < 0.3:
                    words.append(f"{rng.choice(['Ann', 'Bob'])}\tB-name")
                    words += ["Smith\tI-name"] if rng.random() < 0.5 else []
                else:
                    words.append(f"{rng.choice(['sees', 'and', 'hears'])}\tO")
            sentences.append("\n".join(words))
        return "\n\n".join(sentences) + "\n"

    return _written(folder, "conll", make)


def steps(folder: pathlib.Path) -> dict[str, str]:
    """A CSV of steps; the class of each step is the sign of the number before it."""

    def make(split, rng, number):
        lines = ["id,x,sign"]
        for sequence in range(number):
            before = 1.0
            for _ in range(rng.integers(2, 6)):
                x = rng.normal()
                lines.append(f"{sequence},{x:.3f},{'up' if before > 0 else 'down'}")
                before = x
        return "\n".join(lines) + "\n"

    return _written(folder, "csv", make)


def config(name: str, answer: str, files: dict[str, str], **fields) -> ConfigDict:
    """A run of such files; dots in the names of fields are written as two underscores."""
    made = default_config()
    made.data.update({"name": name, "answer": answer})
    made.data.buckets = made.data.buckets if answer == "forecast" else 2
    made.data.files.update(files)
    made.model.update({"cell": "gru", "features": 12, "pooling": "max" if answer in ("class", "numbers") else "last"})
    if name in ("labelled_text", "tagged"):
        made.model.embedding = 8
    made.training.update({"steps": 150, "batch_size": 16, "learning_rate": 0.02, "log_every": 50, "evaluate_every": 50})
    made.training.update({"checkpoint_every": 50, "measure_every": 0})
    made.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return made


def _written(folder: pathlib.Path, ending: str, make) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for seed, (split, number) in enumerate(SIZES.items()):
        (folder / f"{split}.{ending}").write_text(make(split, np.random.default_rng(seed), number), encoding="utf-8")
    return {split: str(folder / f"{split}.{ending}") for split in SIZES}


def _ts(rng: np.random.Generator, number: int, label: str = "@classLabel true a b") -> str:
    lines = ["@problemName sums", "@univariate false", "@dimension 2", "@equalLength false", label, "@data"]
    for _ in range(number):
        values = rng.normal(size=(2, rng.integers(3, 7))).round(3)
        answer = "ab"[int(values[1].sum() > values[0].sum())] if "class" in label else f"{10 * values[0].sum() + 5:.3f}"
        lines.append(":".join([*(",".join(map(str, channel)) for channel in values), answer]))
    return "\n".join(lines) + "\n"
