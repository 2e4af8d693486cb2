import json
import logging
import sys
import threading
import types

import pytest

from rnnlab.errors import UserError
from rnnlab.training import tracking
from rnnlab.training.loop import train
from rnnlab.training.reporting import Reporter, read_metrics
from rnnlab.training.tracking import Tracking, find_tracker, start_tracking
from tests.runs import write_code

# Writes a line of JSON for each call.
OWN = """
import json


class Mine:
    def __init__(self, config, workdir):
        self.path = workdir / "mine.jsonl"
        self.write({"features": config["model"]["encoder"]["features"]})

    def write(self, what):
        with self.path.open("a") as file:
            file.write(json.dumps(what) + "\\n")

    def log(self, values, step):
        self.write({"step": step, **values})

    def close(self):
        self.write({"closed": True})
"""


@pytest.fixture
def warnings(caplog, monkeypatch):
    """A function that returns the warnings so far."""
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_tracker_of_the_users_own_gets_the_config_every_scalar_of_a_run_and_its_scores(tiny_config, tmp_path):
    code = write_code(tmp_path / "code", OWN)
    config = tiny_config(training__tracker=f"{code}:Mine", training__steps=10, training__evaluate_every=5)
    train(config, tmp_path / "run")
    first, *logged, scores, last = map(json.loads, (tmp_path / "run" / "mine.jsonl").read_text().splitlines())
    assert (first, last) == ({"features": 16}, {"closed": True})
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result.pop("split") == "test"
    assert scores == {"step": 10} | {f"test/{name}": value for name, value in result.items()}
    sent = [(line["step"], name, value) for line in logged for name, value in line.items() if name != "step"]
    rows = read_metrics(tmp_path / "run")
    assert len(rows) > 20
    assert sent == [(int(row["step"]), f"{row['split']}/{row['name']}", float(row["value"])) for row in rows]


class _Failing:
    """A tracker that fails in one of its functions."""

    def __init__(self, where):
        self.where = where
        self.fail("make")

    def fail(self, here):
        if here == self.where:
            raise ConnectionError(f"no route to host\nin {here}")

    def log(self, values, step):
        self.fail("log")

    def close(self):
        self.fail("close")


@pytest.mark.parametrize("where", ["make", "log", "close"])
def test_a_tracker_that_fails_is_one_warning_and_costs_nothing_else(tmp_path, warnings, where):
    failing = Tracking(lambda: _Failing(where), "wandb")
    reporter = Reporter(tmp_path, steps=3, start=0, quiet=True, tracking=failing)
    for step in (1, 2, 3):
        reporter.write(step, "train", {"loss": 1.0})
    reporter.close()
    failing.close()
    assert warnings() == ["training.tracker=wandb failed (no route to host); the run continues without it"]
    assert len(read_metrics(tmp_path)) == 3


def test_a_tracker_that_never_answers_holds_nothing_up(warnings, monkeypatch):
    monkeypatch.setattr(tracking, "_PATIENCE", 0.01)
    answer = threading.Event()
    hanging = Tracking(answer.wait, "mlflow")
    for step in range(1000):
        hanging.log(step, {"train/loss": 1.0})
    hanging.close()
    assert warnings() == ["training.tracker=mlflow does not answer; its last values are lost"]
    answer.set()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("neptune", "config.training.tracker: unknown 'neptune'; allowed: wandb, mlflow, file.py:NAME, or empty"),
        ("nowhere.py:Mine", "config.training.tracker: 'nowhere.py:Mine' cannot be imported"),
        ("wandb", r"config.training.tracker=wandb needs the package wandb of the extra 'wandb'; .*'.\[wandb\]'"),
    ],
)
def test_a_tracker_that_is_not_there_is_refused_before_training(name, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=message):
        find_tracker(name)


def _fake_wandb(calls):
    def init(**options):
        calls.append(("init", options["id"], options["config"]["seed"]))
        log = lambda values: calls.append(("log", values))  # noqa: E731
        return types.SimpleNamespace(
            url=None, define_metric=lambda *_, **__: None, log=log, finish=lambda: calls.append(("finish",))
        )

    return types.SimpleNamespace(init=init, Settings=lambda **_: None)


def _fake_mlflow(calls):
    def start_run(run_id, run_name):
        calls.append(("start", run_id, run_name))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id or "made"))

    return types.SimpleNamespace(
        start_run=start_run,
        log_params=lambda params: calls.append(("params", params["model.encoder.cell"])),
        log_metrics=lambda values, step: calls.append(("metrics", values, step)),
        end_run=lambda: calls.append(("end",)),
    )


def test_a_resumed_run_is_the_same_run_to_weights_and_biases_and_mlflow(tiny_config, tmp_path, monkeypatch, warnings):
    calls = []
    monkeypatch.setitem(sys.modules, "wandb", _fake_wandb(calls))
    monkeypatch.setitem(sys.modules, "mlflow", _fake_mlflow(calls))
    for name in ("wandb", "mlflow", "wandb", "mlflow"):
        each = start_tracking(tiny_config(training__tracker=name), tmp_path)
        each.log(7, {"train/loss": 2.0})
        each.close()
    own = calls[0][1]
    wandb = [("init", own, 0), ("log", {"train/loss": 2.0, "step": 7}), ("finish",)]
    mlflow = [("metrics", {"train/loss": 2.0}, 7), ("end",)]
    start = [("start", None, tmp_path.name), ("params", "lstm")]
    assert calls == [*wandb, *start, *mlflow, *wandb, ("start", "made", None), *mlflow]
    assert not warnings()
