"""A metric of one's own in a seq2seq run."""

import copy
import json
import sys

import pytest

import rnnlab.sweep
from rnnlab import load, train
from rnnlab.errors import UserError
from rnnlab.sweep import run_sweep
from rnnlab.training.workdir import create_task, open_task
from tests.runs import evaluate

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


@pytest.fixture
def metrics(tmp_path):
    """A file with metrics."""
    path = tmp_path / "my metrics" / "mine.py"
    path.parent.mkdir()
    path.write_text(METRICS)
    return path


def test_a_metric_of_ones_own_is_scored_and_chooses_the_best_step_from_the_workdir_alone(
    metrics, tiny_config, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(metrics.parent)
    config = tiny_config(training__steps=10, training__evaluate_every=5, evaluation__samples=0)
    config.evaluation.metrics = "wer, mine.py:RIGHT, mine.py:LETTERS"
    config.training.best_metric = "mine.py:RIGHT"  # always the same, so that the first step stays the best
    run = train(config, tmp_path / "w")
    assert run.step == 5
    assert {row["name"] for row in run.metrics()} >= {"RIGHT", "LETTERS"}
    monkeypatch.chdir("/")
    capsys.readouterr()
    task = open_task(tmp_path / "w")
    evaluate(task, "test")
    scores = json.loads(capsys.readouterr().out)
    lengths = [len(text.split()) for example in task.corpus.read("test") for text in example.targets]
    assert (scores["RIGHT"], scores["RIGHT_signature"]) == (sum(lengths), "version:1")
    assert load(tmp_path / "w").scores("test") == scores
    assert (task.lower_is_better("RIGHT"), task.lower_is_better("LETTERS")) == (False, True)
    metrics.write_text(METRICS + "# other")
    with pytest.raises(UserError, match=r"mine\.py has changed since the run was made"):
        load(tmp_path / "w")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("{}:RIHGT", "has no RIHGT; it has .*RIGHT"),
        ("{}:letters", "is no rnnlab.metrics.Metric but of type function"),
        ("nowhere.py:RIGHT", "cannot be imported: FileNotFoundError"),
        ("{}:RIGHT/heads4", "nothing may follow RIGHT"),
        ("{}:FAILS", "cannot score a text: ZeroDivisionError: division by zero"),
        ("{}:NOTHING", "cannot score a text: TypeError"),
        ("{}:wer", "'wer' is the name of another score"),
        ("{}:examples", "'examples' is the name of another score"),
        ("{}:x_signature", "'x_signature' is the name of another score"),
        ("{0}:RIGHT,{0}:LETTERS,{1}/../my metrics/mine.py:LETTERS", "'LETTERS' is the name of another score"),
        ("a,b.py:RIGHT", "unknown 'a'; allowed: wer, .*, or a metric of your own as module:NAME or file.py:NAME"),
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
    with pytest.raises(UserError, match=r"config\.evaluation\.metrics: '.*a,b/mine\.py:RIGHT' is a path with a comma"):
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
    monkeypatch.setattr(rnnlab.sweep, "_plot", lambda found, metric, path: drawn.append(found[0].scores[metric]))
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
