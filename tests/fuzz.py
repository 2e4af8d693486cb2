"""Configs and data files that nobody would write on purpose: each ends in a run that could begin, or in one clear line.

Between the two there is nothing: any other exception is what a user would see as a stack of Python or jax.
"""

import collections
import pathlib
import tempfile

import jax
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from rnnlab.cells import CELLS
from rnnlab.config import field_paths, get_field
from rnnlab.data.vocabulary import NORMAL_FORMS, UNITS
from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.training import loop
from rnnlab.training.optimizer import OPTIMIZERS, SCHEDULES
from rnnlab.training.programs import Programs
from rnnlab.training.workdir import create_task
from tests import tiny

_FIELDS = [
    path for path in field_paths(default_config()) if not isinstance(get_field(default_config(), path), ConfigDict)
]
_OWN = {"experiment", "data.prepared", *(f"data.files.{split}" for split in tiny.SPLITS)}  # kept as they are
_WORDS = [*CELLS, *UNITS, *NORMAL_FORMS, *OPTIMIZERS, *SCHEDULES, "none", "dot", "general", "additive", "monotonic"]
_WORDS += ["init", "every_step", "last", "dense", "zero", "learnt", "wer", "per,wer", "bleu", "loss", "linear:0.1"]
_WORDS += ["orthogonal:1", "chrono", "exponential:0.9", "inverse_sigmoid:3", "\0", "‮", "../..", "é", "1", " ", ""]
_INTEGERS = st.one_of(st.integers(-2, 40), st.sampled_from([10**9, 2**31, 2**63, -(2**63)]))
_FLOATS = st.one_of(st.floats(-1, 2), st.sampled_from([float("nan"), float("inf"), 1e-300, 1e300, 0.0, 1.0]))
_BY_TYPE = {
    bool: st.booleans(),
    int: _INTEGERS,
    float: _FLOATS,
    str: st.one_of(st.sampled_from(_WORDS), st.text(max_size=8)),
}
_CHANGES = st.lists(
    st.sampled_from([f for f in _FIELDS if f not in _OWN]), min_size=1, max_size=4, unique=True
).flatmap(lambda fields: st.fixed_dictionaries({f: _BY_TYPE[type(get_field(default_config(), f))] for f in fields}))
_SIGNS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["\0", "‮", "﻿", "\r", "\x85", "é", "é", "<s>", "👩‍👩‍👧", "a" * 5000, "\t", " ", ""]),
)
_LINES = st.lists(st.lists(_SIGNS, max_size=3).map("".join), max_size=5)
_TEXT = st.one_of(st.text("abcé ‮가", min_size=1, max_size=8), _SIGNS)
_PAIRS = st.lists(st.tuples(_TEXT, _TEXT), min_size=1, max_size=5)
_BYTES = st.one_of(
    _PAIRS.map(lambda pairs: "".join(f"{a}\t{b}\n" for a, b in pairs).encode("utf-8", "surrogatepass")),
    _LINES.map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")),
    _LINES.map(lambda lines: "\r\n".join(lines).encode("utf-16")),
    st.binary(max_size=40),
)
_UNITS = st.sampled_from([unit for unit in UNITS if unit != "spacy"])


def fuzz_configs(examples: int, folder: pathlib.Path) -> collections.Counter:
    """Tries configs with up to four fields of any value of their type; counts how they ended."""
    data = folder / "data"
    data.mkdir()
    tiny.write_data(data)
    ended: collections.Counter = collections.Counter()

    @_many(examples)
    @given(_CHANGES)
    def attempt(changes):
        config = tiny.get_config(str(data))
        config.update_from_flattened_dict(changes)
        with tempfile.TemporaryDirectory(dir=folder) as workdir:
            ended[_ending(lambda: _begin(config, pathlib.Path(workdir)))] += 1

    attempt()
    return ended


def _begin(config: ConfigDict, workdir: pathlib.Path) -> None:
    """All that a run does before its first step is compiled; the step itself is traced."""
    if not _affordable(config):
        create_task(config, workdir)
        return
    task = create_task(config, workdir)
    run = loop.Training(task, Programs(task))
    try:
        jax.eval_shape(run._step, run.state, run._feed.take().arrays, run._seed)
    finally:
        run.close()


def _affordable(config: ConfigDict) -> bool:
    sizes = (get_field(config, f) for f in _FIELDS if type(get_field(config, f)) is int and f != "seed")
    return max(map(abs, sizes)) < 10**6


def fuzz_data(examples: int, folder: pathlib.Path) -> collections.Counter:
    """Tries training data of any bytes, in one file or two, cut into any unit; counts how they ended."""
    ended: collections.Counter = collections.Counter()

    @_many(examples)
    @given(
        st.one_of(_BYTES.map(lambda b: [b]), st.lists(_BYTES, min_size=2, max_size=2)),
        _UNITS,
        _UNITS,
        st.sampled_from(NORMAL_FORMS),
    )
    def attempt(contents, source, target, normal_form):
        with tempfile.TemporaryDirectory(dir=folder) as made:
            workdir = pathlib.Path(made)
            files = [workdir / f"{i}.txt" for i in range(len(contents))]
            for path, content in zip(files, contents, strict=True):
                path.write_bytes(content)
            config = tiny.get_config(made)
            names = ",".join(map(str, files))
            config.data.files.update({"train": names, "validation": names, "test": ""})
            config.data.source.update({"unit": source, "normal_form": normal_form, "size": 300})
            config.data.target.update({"unit": target, "size": 300})
            ended[_ending(lambda: _read(config, workdir / "run"))] += 1

    attempt()
    return ended


def _read(config: ConfigDict, workdir: pathlib.Path) -> None:
    task = create_task(config, workdir)
    pairs = task.training_pairs
    for side, ids in ((task.source, pairs.sources), (task.target, pairs.targets)):
        side.decode(ids.row(0))


def _ending(action) -> str:
    try:
        action()
    except UserError as error:
        text = str(error)
        assert text.strip(), "an error that says nothing"
        assert "Traceback" not in text, text
        assert len(text) < 2000, text
        return "refused"
    return "began"


def _many(examples: int):
    quiet = dict.fromkeys(("deadline", "database"))
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck), print_blob=False, **quiet)
