"""A user's metric and dataset in a seq2seq run."""

import copy
import json
import pathlib
import re
import shutil
import sys

import pytest
from ml_collections import ConfigDict

import rnnlab.sweep.table
from rnnlab import load, train
from rnnlab.data.corpus import Corpus
from rnnlab.errors import UserError
from rnnlab.sweep import run_sweep
from rnnlab.training.workdir import create_task, open_task, read_config
from tests.runs import evaluate, write_code

DOCS = pathlib.Path(__file__).parents[3] / "docs" / "tasks.md"

METRICS = """
from rnnlab.metrics import Metric, Signed

def right_tokens(hypotheses, references):
    return Signed(sum(len(answer.tokens) for answers in references for answer in answers), "version:1")

def letters(hypotheses, references):
    return sum(len(hypothesis.text) for hypothesis in hypotheses)

def fails(hypotheses, references):
    return 1 / 0

RIGHT = Metric(right_tokens, lower_is_better=False)
LETTERS = wer = examples = x_signature = Metric(letters, lower_is_better=True)
FAILS = Metric(fails, lower_is_better=True)
NOTHING = Metric(lambda hypotheses, references: None, lower_is_better=True)
"""


def _pairs(folder, split):
    lines = (folder / f"{split}.tsv").read_text().splitlines()
    return [tuple(line.split("\t")) for line in lines]


@pytest.fixture
def metrics(tmp_path):
    """A file with metrics."""
    return write_code(tmp_path / "my metrics", METRICS)


@pytest.mark.nightly
def test_the_examples_of_the_docs_are_trained_on_and_scored_from_the_workdir_alone(
    tiny_data, tiny_config, tmp_path, monkeypatch
):
    section = DOCS.read_text(encoding="utf-8").partition("## Your own metric or dataset")[2]
    section = section.partition("\n## ")[0]
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        (tmp_path / code.splitlines()[0].removeprefix("# ")).write_text(code)
    given = dict(re.findall(r"--config\.(\S+?)=(\S+)", section))
    (tmp_path / given["data.directory"]).mkdir()
    pairs = {split: _pairs(tiny_data, split) for split in ("train", "validation", "test")}
    for split, found in pairs.items():
        lines = [json.dumps({"question": source, "answer": target}) for source, target in found]
        (tmp_path / given["data.directory"] / f"{split}.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    config = tiny_config(training__steps=10, training__evaluate_every=10, training__learning_rate=0.01)
    config.data.files.update(dict.fromkeys(pairs, ""))
    config.update_from_flattened_dict(given)
    run = train(config, tmp_path / "w")
    assert "FIRST" in {row["name"] for row in run.metrics()}
    monkeypatch.chdir("/")
    run = load(tmp_path / "w")
    predicted = run.predict([source for source, _ in pairs["test"]], beam_size=1)
    right = [line[:1] == target[:1] for line, (_, target) in zip(predicted, pairs["test"], strict=True)]
    assert any(right)
    assert run.scores("test", beam_size=1)["FIRST"] == pytest.approx(100 * sum(right) / len(right))


def test_a_metric_of_ones_own_is_scored_by_its_name_with_its_signature(metrics, trained, tmp_path, monkeypatch, capsys):
    shutil.copytree(trained, tmp_path / "w")
    config = read_config(trained)
    monkeypatch.chdir(metrics.parent)
    config.evaluation.metrics = "wer, mine.py:RIGHT, mine.py:LETTERS"
    config.training.best_metric = "mine.py:RIGHT"
    create_task(config, tmp_path / "w")
    monkeypatch.chdir("/")
    task = open_task(tmp_path / "w")
    assert task.config.training.best_metric == "RIGHT"
    assert (task.lower_is_better("RIGHT"), task.lower_is_better("LETTERS")) == (False, True)
    assert (task.curves()["RIGHT"], task.curves()["wer"]) == ("RIGHT", "WER (%)")
    evaluate(task, "test")
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    lengths = [len(text.split()) for example in task.corpus.read("test") for text in example.targets]
    assert (scores["RIGHT"], scores["RIGHT_signature"]) == (sum(lengths), "version:1")
    metrics.write_text(METRICS + "# other")
    with pytest.raises(UserError, match=r"mine\.py has changed since the run was started"):
        load(tmp_path / "w")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("{}:RIHGT", "has no RIHGT; it has .*RIGHT"),
        ("{}:letters", "is not a rnnlab.metrics.Metric but of type function"),
        ("nowhere.py:RIGHT", "cannot be imported: FileNotFoundError"),
        ("{}:RIGHT/heads4", "nothing may follow RIGHT"),
        ("{}:FAILS", "cannot score a text: ZeroDivisionError: division by zero"),
        ("{}:NOTHING", "cannot score a text: TypeError"),
        ("{}:wer", "'wer' is the name of another score"),
        ("{}:examples", "'examples' is the name of another score"),
        ("{}:x_signature", "'x_signature' is the name of another score"),
        ("{0}:RIGHT,{0}:LETTERS,{1}/../my metrics/mine.py:LETTERS", "'LETTERS' is the name of another score"),
        ("a,b.py:RIGHT", "unknown 'a'; allowed: wer, .*, or your own metric as module:NAME or file.py:NAME"),
    ],
)
def test_what_is_no_metric_is_refused_in_a_line_before_anything_is_written(
    metrics, tiny_config, tmp_path, names, message
):
    with pytest.raises(UserError, match=rf"config\.evaluation\.metrics: .*{message}") as found:
        create_task(tiny_config(evaluation__metrics=f"wer,{names.format(metrics, metrics.parent)}"), tmp_path / "w")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "w").exists()


def test_a_path_that_a_list_of_names_would_cut_is_refused(metrics, tiny_config, tmp_path, monkeypatch):
    folder = metrics.parent.rename(tmp_path / "a,b")
    monkeypatch.chdir(folder)
    with pytest.raises(
        UserError,
        match=r"config\.evaluation\.metrics: '.*a,b/mine\.py:RIGHT' has a comma or blank, at which this list is split",
    ):
        create_task(tiny_config(evaluation__metrics="mine.py:RIGHT", training__best_metric="loss"), tmp_path / "w")


def test_the_best_metric_is_one_of_those_that_are_scored(metrics, tiny_config, tmp_path):
    with pytest.raises(UserError, match=r"best_metric: unknown '.*:RIGHT'; allowed: loss, perplexity, wer, LETTERS"):
        create_task(
            tiny_config(evaluation__metrics=f"wer,{metrics}:LETTERS", training__best_metric=f"{metrics}:RIGHT"),
            tmp_path / "w",
        )


def test_a_metric_that_a_run_gets_later_is_recorded_with_its_file(metrics, tiny_config, tmp_path):
    create_task(tiny_config(), tmp_path / "w")
    create_task(tiny_config(evaluation__metrics=f"wer,per,{metrics}:RIGHT"), tmp_path / "w")
    assert open_task(tmp_path / "w").config.evaluation.metrics.endswith("mine.py:RIGHT")
    assert list(json.loads((tmp_path / "w" / "own_code.json").read_text())) == [f"{metrics}:RIGHT"]


def test_a_sweep_draws_a_metric_of_ones_own_and_does_a_run_again_whose_metric_has_changed(
    metrics, tiny_config, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(
        rnnlab.sweep.table, "draw_scores", lambda found, metric, path: drawn.append(found[0].scores[metric])
    )
    config = tiny_config(evaluation__metrics=f"wer,{metrics}:RIGHT", training__best_metric=f"{metrics}:RIGHT")
    grid, folder = [{"seed": "0"}], tmp_path / "grid" / "seed=0"
    create_task(copy.deepcopy(config), folder)
    (folder / "result.json").write_text('{"wer": 1.0, "RIGHT": 7.0}')
    command = [sys.executable, "-c", "raise SystemExit('trained')"]
    assert run_sweep(grid, config, tmp_path / "grid", command) == 0
    assert drawn == [7.0]
    assert not (folder / "log.txt").exists()
    metrics.write_text(METRICS + "# other")
    assert run_sweep(grid, config, tmp_path / "grid", command, cell=0) == 1
    assert (folder / "log.txt").read_text() == "trained\n"


DATA = """
def words(data):
    pairs = [(word, word[::-1]) for word in ("abc", "bcd", "cde", "def")]
    return {"train": 9 * pairs, "validation": pairs, "test": iter(pairs)}
"""


@pytest.fixture
def data(tmp_path):
    """A file with a dataset."""
    return write_code(tmp_path / "my data", DATA)


def test_a_dataset_of_ones_own_is_tied_to_its_file_and_its_contents(data, tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(data.parent)
    create_task(tiny_config(data__name="mine.py:words"), tmp_path / "w")
    monkeypatch.chdir("/")
    task = open_task(tmp_path / "w")
    assert task.config.data.name == f"{data}:words"
    assert task.splits == ("train", "validation", "test")
    assert task.corpus.read("test")[1] == ("bcd", ("dcb",))
    assert task.corpus.read("test") == task.corpus.read("validation")
    assert task.describe([0, 5]) == "'abc', 'bcd'"
    assert task.has_data_of(task.config, tmp_path / "w")
    data.write_text(DATA + "# other")
    with pytest.raises(UserError, match=r"mine\.py has changed since the run was started"):
        open_task(tmp_path / "w")


def test_a_dataset_that_gives_other_examples_at_the_next_start_is_refused(data, tiny_config, tmp_path):
    words = tmp_path / "words"
    words.write_text("abc bcd")
    data.write_text(DATA.replace('("abc", "bcd", "cde", "def")', f"open({str(words)!r}).read().split()"))
    config = tiny_config(data__name=f"{data}:words")
    create_task(copy.deepcopy(config), tmp_path / "w")
    words.write_text("abc bce")
    with pytest.raises(UserError, match=r"dataset '.*mine\.py:words': the .* split has changed"):
        create_task(config, tmp_path / "w")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def wards(data): pass", "has no words; it has wards"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("words = 3", "is not a function but of type int"),
        ("def words(data): return data.nothing", "failed: AttributeError"),
        ("def words(data): return [('a', 'b')]", "returned something of type list; a dict of splits is needed"),
        ("def words(data): return {'dev': []}", "returned a split 'dev'; allowed: train, validation, test"),
        ("def words(data): return {'train': [('a', 'b')]}", r"returned no split 'validation'"),
        ("def words(data): return {'validation': [('a', 'b')]}", r"returned no split 'train'"),
        ("def words(data): return {'train': [], 'validation': []}", "returned a split 'train' without examples"),
        ("def words(data): return {'train': [('a', 'b'), 'ab'], 'validation': 0}", "gave 'ab' as example 2 of train"),
        ("def words(data): return {'train': [('a', 3)], 'validation': 0}", r"gave \('a', 3\) as .*a pair of texts"),
        ("def words(data): return {'train': [('a', [])], 'validation': 0}", "as example 1 of train; a pair of texts"),
        ("def words(data): return {'train': [(b'a', 'b')], 'validation': 0}", "a pair of texts"),
        ("def words(data): return {'train': [('a', '\\ud800')], 'validation': 0}", "a pair of texts"),
        ("def words(data): return {'train': [('a', ' ')], 'validation': 0}", "one side is empty"),
        ("def words(data): return {'train': [(99 * 'a', 3)], 'validation': 0}", r"gave \('a{75}\.\.\. as"),
        ("def words(data): return {'train': 0, 'validation': 0}", "failed: TypeError: 'int' object is not iterable"),
    ],
)
def test_what_is_no_dataset_is_refused_in_a_line_before_anything_is_written(data, tiny_config, tmp_path, code, message):
    data.write_text(code)
    with pytest.raises(UserError, match=rf"data\.name: .*{message}") as found:
        create_task(tiny_config(data__name=f"{data}:words"), tmp_path / "w")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "w").exists()


def test_several_right_answers_and_the_data_config_reach_a_dataset_of_ones_own(data, tmp_path):
    data.write_text("def words(data): return {data.language: [('a', ['b', 'c'])], 'validation': [['a', ('b',)]]}")
    corpus = Corpus(f"{data}:words", data=ConfigDict({"language": "train"}))
    assert corpus.read("train") == [("a", ("b", "c"))]
    assert corpus.read("validation") == [("a", ("b",))]
    assert corpus.splits == ("train", "validation")
