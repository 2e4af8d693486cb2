import csv
import io
import json
import signal
import sys

import matplotlib.figure
import pytest

from rnnlab.errors import UserError
from rnnlab.sweep import Done, _tell, read_sweep, run_sweep
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
    _tell(found, "wer", tmp_path)
    table = (tmp_path / "sweep.csv").read_text(encoding="utf-8")
    assert [row["wer"] for row in csv.DictReader(table.splitlines())] == ["0.0", "1.0", "2.0", "3.0", "4.0", "", ""]
    assert raw.getvalue().decode("ascii") == table.encode("ascii", "backslashreplace").decode()
    assert (tmp_path / "sweep.png").stat().st_size > 5000

    def fail(*_, **__):
        raise ValueError("too large")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", fail)
    _tell(found, "wer", tmp_path)
