"""Inputs that are hostile, unlucky or in any order."""

import pathlib
import random
import re
import subprocess

import numpy as np

from tests import fuzz, tiny

_WORDS = 1000


def configs(folder: pathlib.Path, examples: int = 2000) -> str:
    """Configs with up to four fields of any value of their type."""
    return _told(fuzz.fuzz_configs(examples, folder))


def data_files(folder: pathlib.Path, examples: int = 2000) -> str:
    """Training data of any bytes."""
    return _told(fuzz.fuzz_data(examples, folder))


def _told(ended) -> str:
    return f"{sum(ended.values()):,}: {ended['began']:,} could begin, {ended['refused']:,} refused in one line, 0 else"


def predictions(folder: pathlib.Path) -> str:
    """A thousand inputs with batches of 1, 7 and 64 and in another order: predictions, and their scores."""
    data = folder / "data"
    data.mkdir()
    tiny.write_data(data)
    process = tiny.train(data, folder / "run", "--config.training.steps=200", "--config.training.learning_rate=0.01")
    if process.communicate() and process.returncode:
        raise RuntimeError("training failed")
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefg", k=rng.randint(1, 9))) for _ in range(_WORDS)]
    order = rng.sample(range(_WORDS), _WORDS)
    wanted = _predict(folder / "run", words, 16)
    texts, furthest = 0, 0.0
    for batch in (1, 7, 64):
        for shuffled in (False, True):
            asked = [words[i] for i in order] if shuffled else words
            found = _predict(folder / "run", asked, batch)
            found = [found[order.index(i)] for i in range(_WORDS)] if shuffled else found
            texts += sum(a[0] != b[0] for a, b in zip(found, wanted, strict=True))
            furthest = max(furthest, *(abs(a[1] - b[1]) for a, b in zip(found, wanted, strict=True)))
    return f"{texts} of {6 * _WORDS:,} texts differ; largest difference of a score {furthest:.1e}"


def _predict(workdir: pathlib.Path, words: list[str], batch: int) -> list[tuple[str, float]]:
    flags = (f"--workdir={workdir}", "--mode=predict", "--n_best=1", f"--config.evaluation.batch_size={batch}")
    config = f"--config={tiny.__file__}:{workdir.parent / 'data'}"
    process = tiny.launch(config, *flags, stdin=subprocess.PIPE)
    out, said = process.communicate("".join(f"{word}\n" for word in words))
    if process.returncode:
        raise RuntimeError(said)
    return [(text, float(score)) for text, score in (line.split("\t") for line in out.splitlines())]


def lines(folder: pathlib.Path) -> str:
    """Lines for `--mode=predict` that are very long, hold NULs, control characters, lone surrogates or nothing."""
    data = folder / "data"
    data.mkdir()
    tiny.write_data(data)
    tiny.train(data, folder / "run", "--config.training.steps=20").communicate()
    rng = np.random.default_rng(0)
    odd = [b"a" * 100_000, b"\0", b"a\0b", b"\xed\xa0\x80", "‮abc".encode(), b"", b" ", b"\xef\xbb\xbfabc", b"abc\r"]
    odd += ["é".encode(), "é".encode(), "👩‍👩‍👧".encode(), b"\xff\xfe", *(rng.bytes(20) for _ in range(500))]
    odd = [line.replace(b"\n", b"") for line in odd]
    process = tiny.launch(f"--workdir={folder / 'run'}", "--mode=predict", stdin=subprocess.PIPE, text=False)
    out, said = process.communicate(b"\n".join(odd) + b"\n")
    stack = ", A STACK" if re.search(b"Traceback", said) else ""
    return f"{len(odd)} lines in, {len(out.splitlines())} out, status {process.returncode}{stack}"
