"""Short runs of the task `seq2seq`: the context vector, outputs of other lengths than their sources, dropout."""

import dataclasses
import functools
import pathlib
import random
import shutil
from collections.abc import Callable, Iterator

from ml_collections import ConfigDict

from rnnlab.choice import check_choice
from rnnlab.data.cmudict import dictionary_path, read_dictionary, read_splits
from rnnlab.files import write_text
from rnnlab.flow_lab.runs import Figures
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.training.loop import Training
from rnnlab.training.prediction import make_predictor
from rnnlab.training.programs import Programs
from rnnlab.training.report import best_params
from rnnlab.training.workdir import create_task

_SYMBOLS = "abcdefghijklmnop"
_SPLITS = {"train": 20_000, "validation": 500, "test": 600}  # pairs
_WORDS = {"train": 3_000, "validation": 500, "test": 1_000}  # few enough for a model to overfit
BINS = 6  # lengths of the sources of the test split, up to the longest
_EVALUATIONS = 4  # during training
_TARGETS: dict[str, Callable[[list[str]], list[str]]] = {
    "copy": lambda symbols: symbols,
    "double": lambda symbols: [symbol for symbol in symbols for _ in range(2)],
    "halve": lambda symbols: symbols[::2],
}
PHONES = "phones"
_ALLOWED = {"context": ("init", "every_step"), "attention": ("none", "dot", "general"), "target": (*_TARGETS, PHONES)}


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a run changes of the plain model, and its data.

    Attributes:
      context, attention: as in `config.model`.
      dropout: rate on the embeddings of encoder and decoder.
      target: copy, double (each symbol twice) or halve (every second symbol) of random symbols, or phones of words.
    """

    context: str = "init"
    attention: str = "none"
    dropout: float = 0.0
    target: str = "copy"

    @classmethod
    def read(cls, text: str) -> "Variant":
        """Parses a text such as "attention:general+target:double".

        Raises:
          ValueError: an unknown field or value; names what is allowed.
        """
        found: dict = {}
        for part in text.split("+"):
            name, _, value = part.partition(":")
            check_choice("intervention", name, [field.name for field in dataclasses.fields(cls)])
            found[name] = _rate(value) if name == "dropout" else check_choice(name, value, _ALLOWED[name])
        return cls(**found)


@dataclasses.dataclass(frozen=True)
class Translation:
    """Everything about a run except its seed; `longest` is the number of symbols of the longest source."""

    cell: str
    variant: Variant
    longest: int
    features: int
    batch_size: int
    learning_rate: float
    steps: int


def _rate(text: str) -> float:
    try:
        if 0 <= (rate := float(text)) < 1:
            return rate
    except ValueError:
        pass
    raise ValueError(f"dropout: {text!r} is not a rate; allowed: at least 0 and below 1")


def translate(setting: Translation, seed: int, folder: pathlib.Path) -> Figures:
    """Trains a run and measures its best parameters on the test split, by greedy search.

    Figures: `right` by length of the source (step), the share of outputs equal to their target; at the end `loss`.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a stopped lab
    folder.mkdir(parents=True)
    pairs = {split: list(_pairs(setting, split)) for split in _SPLITS}
    for split, found in pairs.items():
        write_text(folder / f"{split}.tsv", "".join(f"{source}\t{target}\n" for source, target in found))
    task = create_task(_config(setting, seed, folder), folder)
    assert isinstance(task, Seq2SeqTask)
    with Training(task, Programs(task), quiet=True) as training:
        training.to_the_end()
    _, params = best_params(task)
    loss = task.evaluator(final=True)(params, "test")["loss"]
    return [*_right_by_length(task, params, pairs["test"]), (setting.steps, "loss", float(loss))]


def _right_by_length(task: Seq2SeqTask, params: ModelParams, pairs: list[tuple[str, str]]) -> Figures:
    outputs = make_predictor(task, params, {})([source.encode() for source, _ in pairs], 0)
    by_length: dict[int, list[bool]] = {}
    for (source, target), output in zip(pairs, outputs, strict=True):
        by_length.setdefault(len(source), []).append(output == target)
    return [(length, "right", sum(hits) / len(hits)) for length, hits in sorted(by_length.items())]


def _pairs(setting: Translation, split: str) -> Iterator[tuple[str, str]]:
    """Yields the sources and targets of a split: the same ones in every run."""
    if setting.variant.target == PHONES:
        yield from ((word, pronunciations[0]) for word, pronunciations in _words()[split][: _WORDS[split]])
        return
    rng = random.Random(split)
    for index in range(_SPLITS[split]):
        binned = (index % BINS + 1) * setting.longest // BINS
        source = rng.choices(_SYMBOLS, k=binned if split == "test" else rng.randint(1, setting.longest))
        yield "".join(source), " ".join(_TARGETS[setting.variant.target](source))


@functools.cache
def _words() -> dict[str, list[tuple[str, list[str]]]]:
    return read_splits(read_dictionary(dictionary_path()))


def _config(setting: Translation, seed: int, folder: pathlib.Path) -> ConfigDict:
    config, variant = default_config(), setting.variant
    config.seed = seed
    config.data.update({"name": "parallel_text", "buckets": 2})
    config.data.files.update({split: str(folder / f"{split}.tsv") for split in _SPLITS})
    side = {"cell": setting.cell, "features": setting.features, "embedding": 32, "dropout": variant.dropout}
    config.model.encoder.update(side | {"bidirectional": False})
    config.model.decoder.update(side)
    config.model.update({"bridge": "last", "context": variant.context, "attention": variant.attention})
    config.training.update(
        {
            "steps": setting.steps,
            "batch_size": setting.batch_size,
            "learning_rate": setting.learning_rate,
            "best_metric": "loss",
            "evaluate_every": max(1, setting.steps // _EVALUATIONS),
            "checkpoint_every": 0,
            "measure_every": 0,
            "matmul_precision": "highest",
        }
    )
    config.evaluation.update({"beam_size": 1, "metrics": "wer", "samples": 0})
    return config
