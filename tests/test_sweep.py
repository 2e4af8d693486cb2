import csv
import io
import itertools
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import threading
import time

import matplotlib.figure
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from rnnlab.errors import UserError
from rnnlab.sweep import read_sweep, run_sweep
from rnnlab.sweep.halving import plan
from rnnlab.sweep.hparams import write_hparams
from rnnlab.sweep.results import Done, SweepRun
from rnnlab.sweep.table import write_table
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.training.workdir import create_task
from tests import tiny

# Trains nothing: writes the config and a result like a run, fails for rnn, and waits if asked to.
_STUB = """
import json, pathlib, sys
config = json.loads({config!r})
given = dict(arg.removeprefix("--config.").split("=", 1) for arg in sys.argv[1:] if arg.startswith("--config."))
workdir = pathlib.Path(next(arg for arg in sys.argv if arg.startswith("--workdir=")).partition("=")[2])
if given["model.encoder.cell"] == "rnn":
    sys.exit("error: no such luck")
config["model"]["encoder"]["cell"], config["seed"] = given["model.encoder.cell"], int(given["seed"])
(workdir / "config.json").write_text(json.dumps(config))
(workdir / "data.json").write_text("{{}}")
with (workdir / "starts").open("a") as file:
    file.write("x")
(workdir / "result.json").write_text(json.dumps({{"split": "test", "wer": 10.0 + int(given["seed"])}}))
selection = {{"step": 1, "metric": "wer", "value": 9.0 - int(given["seed"]), "lower_is_better": True}}
(workdir / "selection.json").write_text(json.dumps(selection))
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.encoder.sell=gru", "'model.encoder.sell' is not a field of the config; nearest: model.encoder.cell"),
        ("model=3", "'model' is not a field"),
        ("seed=0,x", "seed='x' is not of type int"),
        ("model.tied_embeddings=maybe", "'maybe' is not of type bool"),
        ("seed=0,1;seed=2", "each field may occur once"),
        ("seed=0,0", "each of its values once"),
        ("seed=", "none may be empty"),
        ("", "names no field"),
    ],
)
def test_a_grid_that_cannot_be_run_is_told_of_before_the_first_run(text, message):
    with pytest.raises(UserError, match=message):
        read_sweep(text, default_config())


def test_a_grid_is_the_product_of_its_fields_the_last_one_fastest():
    grid = read_sweep("model.encoder.cell=lstm,gru; seed=0,1", default_config())
    assert [tuple(values.values()) for values in grid] == [("lstm", "0"), ("lstm", "1"), ("gru", "0"), ("gru", "1")]


@pytest.fixture
def stub(tmp_path):
    path = tmp_path / "stub.py"
    path.write_text(_STUB.format(config=default_config().to_json_best_effort()))
    return [sys.executable, str(path)]


GRID = "model.encoder.cell=lstm,rnn,gru;seed=0,1"


def test_a_failed_run_stops_no_other_and_what_is_done_is_not_done_again(stub, tmp_path, capsys):
    config, grid = default_config(), read_sweep(GRID, default_config())
    workdir = tmp_path / "grid"
    assert run_sweep(grid, config, workdir, stub) == 1
    printed = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert printed.out == (workdir / "sweep.csv").read_text()
    best = "best on validation (wer 8): model.encoder.cell=lstm,seed=1; test wer 11.0"
    assert printed.err.splitlines()[-1] == best
    assert [(r["model.encoder.cell"], r["seed"], r["wer"], r["failure"]) for r in rows] == [
        ("lstm", "0", "10.0", ""),
        ("lstm", "1", "11.0", ""),
        ("rnn", "0", "", "error: no such luck"),
        ("rnn", "1", "", "error: no such luck"),
        ("gru", "0", "10.0", ""),
        ("gru", "1", "11.0", ""),
    ]
    assert (workdir / "sweep.png").stat().st_size > 5000
    run_sweep(grid, config, workdir, stub)
    assert [path.read_text() for path in sorted(workdir.glob("*/starts"))] == ["x"] * 4
    other = default_config()
    other.training.steps += 1  # the results are of another config
    run_sweep(grid[:1], other, workdir, stub)
    assert [path.read_text() for path in sorted(workdir.glob("*lstm*/starts"))] == ["xx", "x"]


def test_a_run_whose_config_names_its_files_from_another_folder_is_not_done_again(stub, tmp_path, monkeypatch):
    """A run saves absolute paths."""
    saved, given = tiny.get_config(str(tmp_path)), tiny.get_config(".")
    folder = tmp_path / "grid" / "seed=0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(saved.to_json_best_effort())
    (folder / "result.json").write_text('{"wer": 1.0}')
    (folder / "data.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert run_sweep(read_sweep("seed=0", given), given, tmp_path / "grid", stub, cell=0) == 0
    assert not (folder / "log.txt").exists()


@pytest.mark.parametrize("changed", [None, *tiny.SPLITS])
def test_a_run_whose_data_have_changed_is_not_taken_for_done(stub, tmp_path, changed):
    tiny.write_data(tmp_path)
    config = tiny.get_config(str(tmp_path))
    folder = tmp_path / "grid" / "seed=0"
    create_task(config, folder)
    (folder / "result.json").write_text('{"wer": 1.0}')
    if changed:
        with (tmp_path / f"{changed}.tsv").open("a") as file:
            file.write("a\tA\n")
    status = run_sweep(read_sweep("seed=0", config), config, tmp_path / "grid", stub, cell=0)
    assert (status, (folder / "log.txt").exists()) == ((1, True) if changed else (0, False))


def test_one_cell_of_a_grid_is_one_run_without_a_table(stub, tmp_path):
    config, grid = default_config(), read_sweep(GRID, default_config())
    assert run_sweep(grid, config, tmp_path / "grid", stub, cell=5) == 0
    assert [path.name for path in (tmp_path / "grid").iterdir()] == ["model.encoder.cell=gru,seed=1"]
    with pytest.raises(UserError, match="6 is not one of the 6 runs"):
        run_sweep(grid, config, tmp_path / "grid", stub, cell=6)


@pytest.mark.nightly
def test_launch_runs_a_grid_of_a_task_of_ones_own_stops_with_it_and_resumes(tmp_path):
    flags = ["--config=tests/tasks/counting.py", "--config.training.steps=20", "--config.training.evaluate_every=20"]
    flags += [f"--workdir={tmp_path}", "--sweep=model.cell=gru,rnn"]
    process = tiny.launch(*flags)
    next(line for line in process.stderr if "run 1 of 2" in line)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1]
    assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM), said
    process = tiny.launch(*flags)
    out, said = process.communicate()
    assert process.returncode == 0, said
    assert [row["model.cell"] for row in csv.DictReader(out.splitlines())] == ["gru", "rnn"]
    assert json.loads((tmp_path / "model.cell=rnn" / "config.json").read_text())["training"]["steps"] == 20


def test_a_table_of_any_values_and_scores_is_written_before_it_is_shown_and_drawn(tmp_path, monkeypatch):
    """A score that is not finite is an empty cell; a value is drawn as it is; a terminal may lack its letters."""
    values = ["$5^$", "a_b", "日本", "\t", "x" * 300]
    found = [Done({"data.name": value}, {"wer": float(i)}, "") for i, value in enumerate(values)]
    found += [Done({"data.name": "nan"}, {"wer": None}, ""), Done({"data.name": "é"}, {}, "error: é")]
    out = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", out)
    write_table(found, "wer", tmp_path)
    table = (tmp_path / "sweep.csv").read_text(encoding="utf-8")
    assert [row["wer"] for row in csv.DictReader(table.splitlines())] == ["0.0", "1.0", "2.0", "3.0", "4.0", "", ""]
    assert raw.getvalue().decode("ascii") == table.encode("ascii", "backslashreplace").decode()
    assert (tmp_path / "sweep.png").stat().st_size > 5000

    def fail(*_, **__):
        raise ValueError("too large")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", fail)
    write_table(found, "wer", tmp_path)


def test_draws_are_reproducible_within_their_ranges_and_different():
    text = "training.learning_rate=log:1e-4:1e-2;model.encoder.features=uniform:3:5;model.encoder.cell=lstm,gru"
    config = default_config()
    drawn = read_sweep(text, config, draws=200)
    assert drawn[:50] == read_sweep(text, config, draws=50)
    assert len({tuple(values.values()) for values in drawn}) == 200
    assert {values["model.encoder.features"] for values in drawn} == {"3", "4", "5"}
    assert {values["model.encoder.cell"] for values in drawn} == {"lstm", "gru"}
    rates = [float(values["training.learning_rate"]) for values in drawn]
    assert 1e-4 <= min(rates) < max(rates) <= 1e-2
    assert 0.4 < sum(rate < 1e-3 for rate in rates) / 200 < 0.6  # half of a log range is below its geometric mean
    config.seed = 1
    assert read_sweep(text, config, draws=50) != drawn[:50]


def test_draws_can_exhaust_a_grid_and_a_range_of_whole_numbers():
    drawn = read_sweep("seed=log:1:4;model.encoder.cell=lstm,gru", default_config(), draws=8)
    assert {tuple(values.values()) for values in drawn} == set(itertools.product("1234", ("lstm", "gru")))


@pytest.mark.parametrize(
    ("text", "draws", "message"),
    [
        ("seed=0,1,2", 4, "4 draws, but --sweep has only 3 different settings"),
        (
            "training.learning_rate=log:1e-4:1e-2",
            None,
            "is a range, from which --sweep_random=n draws; a grid needs its",
        ),
        ("training.learning_rate=log:0:1", 2, "a range needs low < high, and a log range 0 < low"),
        ("training.learning_rate=uniform:2:1", 2, "a range needs low < high"),
        ("seed=uniform:0:x", 2, "seed='x' is not of type int"),
        ("training.learning_rate=normal:0:1", 2, "'normal:0:1' is not of type float"),
    ],
)
def test_draws_that_cannot_be_made_are_refused(text, draws, message):
    with pytest.raises(UserError, match=message):
        read_sweep(text, default_config(), draws=draws)


# Trains nothing: each step takes what the flag names, and the value on validation falls to the run's seed.
_STAGED = """
import fcntl, json, pathlib, sys, time
config = json.loads({config!r})
given = dict(arg.removeprefix("--config.").split("=", 1) for arg in sys.argv[1:] if arg.startswith("--config."))
workdir = pathlib.Path(next(arg for arg in sys.argv if arg.startswith("--workdir=")).partition("=")[2])
lock = (workdir / "lock").open("a")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
(workdir / "starts").open("a").write("x")
if pathlib.Path({gate!r}).exists():
    while not pathlib.Path({gate!r}, "open").exists():
        time.sleep(0.01)
seed, steps = int(given["seed"]), int(given.get("training.steps", config["training"]["steps"]))
config["seed"] = seed
config["training"] |= {{"steps": steps, "schedule_steps": int(given.get("training.schedule_steps", 0))}}
(workdir / "result.json").unlink(missing_ok=True)
(workdir / "config.json").write_text(json.dumps(config))
(workdir / "data.json").write_text("{{}}")
rows = [f"{{step}},validation,wer,{{seed + 1 / step}}\\n" for step in range(1, steps + 1)]
(workdir / "metrics.csv").write_text("step,split,name,value\\n" + "".join(rows))
if seed == 7:
    sys.exit("error: seven")
selection = {{"step": steps, "metric": "wer", "value": seed + 1 / steps, "lower_is_better": True}}
(workdir / "selection.json").write_text(json.dumps(selection))
(workdir / "result.json").write_text(json.dumps({{"split": "test", "wer": seed}}))
"""


@pytest.fixture
def staged(tmp_path):
    path = tmp_path / "staged.py"
    path.write_text(_STAGED.format(config=default_config().to_json_best_effort(), gate=str(tmp_path / "gate")))
    return [sys.executable, str(path)]


@pytest.mark.parametrize(
    ("runs", "eta", "steps", "expected"),
    [
        (9, 3, 900, [(9, 100), (3, 300), (1, 900)]),
        (8, 2, 80, [(8, 10), (4, 20), (2, 40), (1, 80)]),
        (5, 2, 100, [(5, 12), (3, 25), (2, 50), (1, 100)]),
        (1, 2, 100, [(1, 100)]),
    ],
)
def test_each_stage_of_halving_keeps_a_share_of_the_runs_for_more_steps(runs, eta, steps, expected):
    config = default_config()
    config.training.steps = steps
    stages = plan(runs, eta, config.training)
    assert [(stage.runs, int(stage.budget["training.steps"])) for stage in stages] == expected
    assert {stage.budget["training.schedule_steps"] for stage in stages} == {str(steps)}


def test_stages_are_whole_calls_and_have_at_least_one():
    config = default_config()
    config.training.update({"steps": 80, "steps_per_call": 8})
    assert [stage.budget["training.steps"] for stage in plan(4, 2, config.training)] == ["16", "40", "80"]
    with pytest.raises(UserError, match=r"--sweep_halving=2: 16 runs need 5 stages, the first of 5 steps; raise"):
        plan(16, 2, config.training)


def test_halving_keeps_the_best_and_a_second_start_repeats_nothing(staged, tmp_path, capsys):
    """The run of seed 7 fails; the stages are those of 6 runs by thirds: 6, 2, 1."""
    config = default_config()
    config.training.steps = 9
    settings = read_sweep("seed=5,7,3,4,1,2", config)
    assert run_sweep(settings, config, tmp_path / "s", staged, eta=3) == 1
    printed = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [(row["seed"], row["training.steps"], row["wer"], row["failure"]) for row in rows] == [
        ("5", "1", "5", ""),
        ("7", "1", "", "error: seven"),
        ("3", "1", "3", ""),
        ("4", "1", "4", ""),
        ("1", "9", "1", ""),
        ("2", "3", "2", ""),
    ]
    assert "best on validation (wer 1.111): seed=1; test wer 1" in printed.err
    (tmp_path / "s" / "seed=2" / "result.json").unlink()  # as if it had been stopped within its second stage
    assert run_sweep(settings, config, tmp_path / "s", staged, eta=3) == 1
    assert capsys.readouterr().out == printed.out
    starts = {path.parent.name: path.read_text() for path in (tmp_path / "s").glob("*/starts")}
    assert {name: len(each) for name, each in starts.items()} == {
        "seed=5": 1,
        "seed=7": 2,
        "seed=3": 1,
        "seed=4": 1,
        "seed=1": 3,
        "seed=2": 3,
    }


def test_halving_refuses_a_sweep_over_the_steps():
    config = default_config()
    with pytest.raises(UserError, match="sets training"):
        run_sweep(read_sweep("training.steps=1,2", config), config, pathlib.Path("none"), [], eta=2)


def _in_thread(function, *arguments, **options):
    """Starts a function in a thread; returns a function that waits for what it returned."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*arguments, **options)))
    thread.start()
    return lambda: thread.join() or found[0]


def _wait_for(number, folder):
    while len(list(folder.glob("*/starts"))) < number:
        time.sleep(0.01)


def test_several_runs_at_once_are_no_more_than_asked_for_and_give_the_same_table(staged, tmp_path, capsys):
    config = default_config()
    settings = read_sweep("seed=5,3,4,1", config)
    assert run_sweep(settings, config, tmp_path / "one", staged) == 0
    alone = capsys.readouterr().out
    (tmp_path / "gate").mkdir()
    opener = _in_thread(_open_when_started, tmp_path / "two", 2, tmp_path / "gate" / "open")
    assert run_sweep(settings, config, tmp_path / "two", staged, jobs=2) == 0
    assert opener() == 2
    assert capsys.readouterr().out == alone


def _open_when_started(folder, number, gate):
    """Opens the gate once some runs wait at it; returns how many did a moment later."""
    _wait_for(number, folder)
    time.sleep(0.2)
    found = len(list(folder.glob("*/starts")))
    gate.touch()
    return found


def test_a_run_that_outlived_its_sweep_is_waited_for_and_not_repeated(staged, tmp_path):
    """As after kill -9: a process of its own still holds the work directory."""
    config = default_config()
    settings = read_sweep("seed=5,3", config)
    (tmp_path / "gate").mkdir()
    folder = tmp_path / "s" / "seed=5"
    folder.mkdir(parents=True)
    with subprocess.Popen([*staged, f"--workdir={folder}", "--config.seed=5"]):
        _wait_for(1, tmp_path / "s")
        opener = _in_thread(_open_when_started, tmp_path / "s", 2, tmp_path / "gate" / "open")
        assert run_sweep(settings, config, tmp_path / "s", staged, jobs=2) == 0
        opener()
    assert [path.read_text() for path in sorted((tmp_path / "s").glob("*/starts"))] == ["x", "x"]


def test_a_signal_stops_all_runs_that_are_alive_and_starts_no_other(tmp_path, capsys):
    stub = tmp_path / "stub.py"
    stub.write_text(
        "import pathlib, signal, sys\n"
        "folder = pathlib.Path(sys.argv[1].partition('=')[2])\n"
        "signal.signal(signal.SIGTERM, lambda *_: ((folder / 'asked').touch(), sys.exit(1)))\n"
        "(folder / 'starts').touch()\n"
        "signal.pause()\n"
    )
    config, folder = default_config(), tmp_path / "s"

    def stop():
        _wait_for(2, folder)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = _in_thread(stop)
    settings = read_sweep("seed=0,1,2", config)
    before = signal.getsignal(signal.SIGTERM)
    assert run_sweep(settings, config, folder, [sys.executable, str(stub)], jobs=2) == 128 + signal.SIGTERM
    stopper()
    assert signal.getsignal(signal.SIGTERM) is before
    assert [path.parent.name for path in sorted(folder.glob("*/asked"))] == ["seed=0", "seed=1"]
    assert not (folder / "seed=2").exists()
    assert capsys.readouterr().err.splitlines()[-1] == "stopped by SIGTERM; the same command resumes from here"


def test_scores_of_runs_without_a_test_split_are_called_those_of_validation(tmp_path, capsys):
    scores = {"split": "validation", "wer": 3.0}
    write_table(
        [Done({"seed": "1"}, scores, "", {"metric": "wer", "value": 3.0, "lower_is_better": True})], "wer", tmp_path
    )
    assert capsys.readouterr().err == "best on validation (wer 3): seed=1; validation wer 3.0\n"


def test_the_page_is_self_contained_and_starts_with_the_best_run(tmp_path):
    def done(rate, value, failure=""):
        selection = {} if failure else {"metric": "wer", "value": value, "lower_is_better": True}
        return Done({"training.learning_rate": rate}, {} if failure else {"wer": value}, failure, selection)

    found = [done("0.1", 3.0), done("0.001", 1.0), done("0.01", 2.0), done("1", 0, "<b>loss</b>"), done("0.02", 2.5)]
    (tmp_path / "training.learning_rate=0.01").mkdir()
    (tmp_path / "training.learning_rate=0.01" / "log.txt").touch()
    write_table(found, "wer", tmp_path)
    page = (tmp_path / "sweep.html").read_text()
    assert re.findall(r"<td>([0-9.]+)</td><td[^>]*>[0-9.]*</td><td[^>]*>[0-9.]*</td>", page) == [
        "0.001",
        "0.01",
        "0.02",
        "0.1",
        "1",
    ]
    assert '<tr class="best"><td></td><td>0.001</td>' in page
    assert '<a href="training.learning_rate%3D0.01/log.txt">log.txt</a>' in page
    assert "&lt;b&gt;loss" in page
    assert not re.search(r"https?://", page)
    assert re.findall(r'(?:src|href)="([^":]*)', page) == ["data", "training.learning_rate%3D0.01/log.txt", "data"]


def _read_events(path):
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def test_tensorboard_finds_fields_and_scores_of_a_run(tmp_path):
    run = SweepRun({"seed": "3", "model.encoder.cell": "gru"}, tmp_path, default_config())
    selection = {"metric": "wer", "value": 4.0, "lower_is_better": True}
    write_hparams(run, Done(run.values, {"split": "test", "wer": 5.0}, "", selection))
    write_hparams(run, Done(run.values, {"split": "test", "wer": 5.5}, "", selection))
    (path,) = (run.folder / "hparams").iterdir()
    values = [value for event in _read_events(path) for value in event.summary.value]
    (started,) = (value for value in values if value.tag == "_hparams_/session_start_info")
    content = HParamsPluginData.FromString(started.metadata.plugin_data.content)
    fields = content.session_start_info.hparams
    assert (fields["seed"].number_value, fields["model.encoder.cell"].string_value) == (3.0, "gru")
    scores = {value.tag: value.simple_value for value in values if not value.tag.startswith("_")}
    assert scores == {"test/wer": 5.5, "validation/wer": 4.0}
