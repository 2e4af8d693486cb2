import collections
import json
import os
import pathlib
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from rnnlab.data.vocabulary import BOS, EOS
from rnnlab.errors import UserError
from rnnlab.export.card import make_card
from rnnlab.export.programs import lower
from rnnlab.run import load
from rnnlab.tasks.exports import Program
from rnnlab.tasks.lag.task import LagTask
from rnnlab.tasks.lag.task import default_config as lag_config
from rnnlab.tasks.seq2seq.ensemble import open_ensemble
from rnnlab.training.report import best_params
from rnnlab.training.step import split_model
from rnnlab.training.workdir import create_task, open_task
from tests import exporting, nightly, tiny
from tests.runs import write_code

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "export.md"
LINES = "abc\n\nfed\nxyz\na\n  cab \n" + "abcdefg" * 5 + "\ngg"


@pytest.fixture(scope="module")
def task(trained):
    return open_task(trained)


@pytest.fixture(scope="module")
def params(task):
    return best_params(task)[1]


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """The exported model."""
    out = tmp_path_factory.mktemp("exported") / "model"
    with exporting.symbolic_sizes():
        load(trained).export(out)
    return out


@pytest.fixture
def exported(folder):
    """The module of an exported model."""
    with exporting.beside(folder):
        import exported

        yield exported


def _predicted(task, params, **options):
    return task.predictor(params, **options)([line.encode() for line in LINES.split("\n")], 0)


def test_the_runner_answers_as_predict_does_without_rnnlab(task, params, folder, tmp_path):
    for package in ("rnnlab", "flax", "safetensors"):
        (tmp_path / f"{package}.py").write_text("raise ImportError")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(folder / "run.py")]
    done = subprocess.run(command, input=LINES.encode(), capture_output=True, cwd=tmp_path, env=environment)
    assert done.stderr == b""
    found = done.stdout.decode().splitlines()
    assert found == _predicted(task, params)
    assert found[:3] == ["A B C", "", "F E D"]


def test_the_runner_searches_greedily_in_batches_of_any_size(task, params, folder, tmp_path):
    config = task.config.copy_and_resolve_references()
    config.evaluation.beam_size = 1
    settings = json.loads((folder / "runner.json").read_text())
    (folder / "runner.json").write_text(json.dumps(settings | {"batch_size": 3}))
    try:
        assert exporting.run(folder, LINES.encode(), "greedy") == _predicted(task.configured(config), params)
    finally:
        (folder / "runner.json").write_text(json.dumps(settings))


def test_the_python_of_the_docs_runs(folder):
    (block,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    with exporting.beside(folder):
        exec(compile(block, "export.md", "exec"), names := {})
    assert names["found"]["tokens"].shape == (2, 2, 30)


@pytest.mark.nightly
def test_the_command_exports_the_search_of_its_flags(task, params, trained, tmp_path):
    done = tiny.launch(f"--workdir={trained}", "--mode=export", f"--out={tmp_path}/out", "--beam_size=3")
    assert done.wait() == 0, done.stderr.read()
    config = task.config.copy_and_resolve_references()
    config.evaluation.beam_size = 3
    assert exporting.run(tmp_path / "out", LINES.encode()) == _predicted(task.configured(config), params)
    assert "beam search of size 3" in (tmp_path / "out" / "README.md").read_text().lower()


def _searched(exported):
    """The beams of two words: their ids and lengths, and what the program returns."""
    ids = [exported.Vocabulary("source_vocabulary.json").encode(word) for word in ("fed", "cabbage")]
    sources, lengths = exported.padded(ids, 11, 2), np.array([3, 7], np.int32)
    found = exported.program("beam")(sources, lengths, np.ones((13, 2), bool))
    return sources, lengths, {name: np.asarray(value) for name, value in found.items()}


def test_scores_of_given_outputs_are_those_of_the_search(exported):
    sources, lengths, found = _searched(exported)
    assert found["tokens"].shape == (2, 2, 13)
    for number in range(2):
        outputs = found["tokens"][:, number].T
        log_p = exported.program("scores")(sources, lengths, outputs)["log_p"]
        np.testing.assert_allclose(log_p, found["log_p"][:, number].T, atol=1e-4)
        np.testing.assert_allclose(np.sum(log_p, 0), found["scores"][:, number], atol=1e-4)


def test_steps_from_the_encoder_on_give_the_tokens_of_greedy_search(exported):
    sources, lengths, _ = _searched(exported)
    found = exported.program("greedy")(sources, lengths, np.ones((13, 2), bool))["tokens"]
    encoded = exported.program("encode")(sources, lengths)
    states, tokens = encoded["states"], np.full(2, BOS, np.int32)
    for step in range(3):
        result = exported.program("step")(states, tokens, encoded["memory"])
        states, tokens = result["states"], np.argmax(result["log_p"], axis=-1).astype(np.int32)
        np.testing.assert_array_equal(tokens, found[:, 0, step])
        np.testing.assert_allclose(np.sum(result["attention"], -1), 1, rtol=1e-5)
    assert EOS not in tokens


def test_each_column_has_its_own_limit(exported):
    sources, lengths, _ = _searched(exported)
    tokens = exported.program("greedy")(sources, lengths, np.arange(5)[:, None] < np.array([2, 5]))["tokens"]
    assert np.count_nonzero(tokens, axis=-1).tolist() == [[2], [5]]


def test_the_parameters_are_in_safetensors(params, folder, exported):
    saved = load_file(folder / "model.safetensors")
    assert saved.keys() == params.keys() == exported.params().keys()
    for name, value in params.items():
        np.testing.assert_array_equal(saved[name], value)
        np.testing.assert_array_equal(exported.params()[name], value)


def test_the_card_has_scores_digests_config_and_programs(task, folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    for name in ("result.json", "selection.json"):
        for field, value in json.loads((task.workdir / name).read_text()).items():
            assert json.dumps({field: value})[1:-1] in card
    assert set(task.digests) == {"train", "validation", "test"}
    assert all(digest in card for digest in task.digests.values())
    assert '"experiment": "seq2seq"' in card
    assert "beam search of size 2" in card.lower()
    assert "int32[source,batch], lengths int32[batch], room bool[target,batch]" in card
    assert json.loads((folder / "config.json").read_text()) == task.config.to_dict()


@pytest.mark.parametrize("made", ["file", "folder/file"])
def test_a_folder_with_contents_is_refused_and_stays(task, params, tmp_path, made):
    (tmp_path / made).parent.mkdir(exist_ok=True)
    (tmp_path / made).write_text("mine")
    with pytest.raises(UserError, match=r"--out: .* give a new folder"):
        exporting.export(task, params, tmp_path / made.partition("/")[0])
    assert (tmp_path / made).read_text() == "mine"


def test_an_export_that_fails_leaves_nothing(task, params, tmp_path, monkeypatch):
    monkeypatch.setattr("rnnlab.export.folder.lower", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exporting.export(task, params, tmp_path / "new" / "out")
    assert list((tmp_path / "new").iterdir()) == []


def test_an_operation_that_cannot_be_lowered_is_one_line(params):
    def run(params):
        return {"found": jnp.linalg.eig(jnp.ones((2, 2)))[0]}  # jax has it for CPUs and CUDA

    with pytest.raises(UserError, match=r"the program own cannot be lowered for cpu, cuda, tpu: .*eig.*tpu"):
        lower("own", Program(run, {}, ""), params)


def test_a_missing_package_is_one_line(task, params, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(UserError, match="needs the package flatbuffers of the extra 'export'"):
        exporting.export(task, params, tmp_path / "out")


def test_samples_are_refused(task, params, tmp_path):
    config = task.config.copy_and_resolve_references()
    config.evaluation.temperature = 0.5
    with pytest.raises(UserError, match=r"evaluation.temperature: 0.5 .* must be 0"):
        exporting.export(task.configured(config), params, tmp_path / "out")


def test_a_damaged_record_of_scores_is_one_line(task, params, tmp_path):
    damaged = open_task(task.workdir)
    (tmp_path / "result.json").write_text("{")
    object.__setattr__(damaged, "workdir", tmp_path)
    with exporting.symbolic_sizes(), pytest.raises(UserError, match=r"result.json: is damaged"):
        make_card(damaged, damaged.exports(), collections.defaultdict(lambda: ("", "")), params)


def test_a_run_without_scores_is_exported(task, params, tmp_path):
    bare = open_task(task.workdir)
    object.__setattr__(bare, "workdir", tmp_path / "bare")
    with exporting.symbolic_sizes():
        card = make_card(bare, bare.exports(), collections.defaultdict(lambda: ("", "")), params)
    assert "The run `bare` has not been evaluated yet." in card


def test_a_task_without_exports_is_named(tmp_path):
    task = LagTask(lag_config(), tmp_path)
    with pytest.raises(UserError, match="--mode=export: the task lag cannot be exported"):
        task.exports()


CELL = """
import jax.numpy as jnp
from rnnlab import Cell

LEAKY = Cell("leaky", ("h",), lambda params, state, a, r: (0.5 * state[0] + 0.5 * jnp.tanh(a + r),))
"""


def _untrained(config, workdir):
    """A task, and parameters that are large enough for outputs to differ."""
    task = create_task(config, workdir)
    _, params = split_model(task.make_model())
    return task, {name: value * (4 if value.ndim > 1 else 1) for name, value in params.items()}


@pytest.mark.parametrize(
    "fields",
    [
        *nightly.only(
            {"model__encoder__cell": "OWN", "data__source__reverse": True, "evaluation__beam_size": 1},
            {"model__attention": "monotonic", "evaluation__length_penalty": 0.5},
            {"model__attention": "additive", "model__decoder__block": "prenorm", "model__tied_embeddings": True},
            {"model__attention": "none", "model__context": "every_step", "data__target__unit": "byte"},
            {"model__input_feeding": True, "evaluation__coverage_penalty": 0.2, "evaluation__max_tokens": 5},
            {"model__encoder__cell": "lru", "model__encoder__block": "prenorm", "model__decoder__cell": "slstm"},
        ),
    ],
    ids=str,
)
def test_every_model_is_exported(tiny_config, tmp_path, fields):
    own = write_code(tmp_path / "code", CELL)
    fields = {name: f"{own}:LEAKY" if value == "OWN" else value for name, value in fields.items()}
    task, params = _untrained(tiny_config(**fields), tmp_path / "w")
    folder = exporting.export(task, params, tmp_path / "out")
    found = exporting.run(folder, LINES.encode())
    assert found == _predicted(task, params)
    assert len(set(found)) > 2


@pytest.mark.nightly
def test_an_ensemble_is_one_model(tiny_config, trained, tmp_path):
    _untrained(tiny_config(seed=5), tmp_path / "other")
    task = open_ensemble([trained, tmp_path / "other"])
    params = task.join_params([split_model(own.make_model())[1] for own in task.members])
    folder = exporting.export(task, params, tmp_path / "out")
    assert exporting.run(folder, LINES.encode()) == _predicted(task, params)
    assert "The run `other` has not been evaluated yet." in (folder / "README.md").read_text()
