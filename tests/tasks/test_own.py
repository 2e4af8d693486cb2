"""A user's task and cell, by the ordinary commands."""

import io
import json
import shutil

import jax
import numpy as np
import pytest

from rnnlab.cells import CELLS, find_cell
from rnnlab.errors import UserError
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.loop import train
from rnnlab.training.plots import plot_curves
from rnnlab.training.workdir import create_task, open_task
from tests import scripted, tiny
from tests.runs import evaluate, predict, write_code
from tests.tasks import counting

CELL = """
import jax.numpy as jnp
from rnnlab.cells import Cell

def combine(params, state, a, r):
    (h,) = state
    return (0.5 * h + 0.5 * jnp.tanh(a + r),)

LEAKY = Cell(name="leaky", gates=("h",), combine=combine)
NUMBER = 3
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A work directory of the counting task."""
    workdir = tmp_path_factory.mktemp("counting") / "w"
    train(counting.get_config(), workdir)
    return workdir


@pytest.fixture
def cells(tmp_path):
    """A file with a cell."""
    return write_code(tmp_path / "my cells", CELL)


def test_a_task_of_ones_own_learns_is_evaluated_and_answers(counted, capsys):
    task = open_task(counted)
    evaluate(task, "test")
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert scores["error"] < 10
    predict(task, io.BytesIO(b"abca\nbbb\ndab\n"), answers := io.BytesIO())
    assert answers.getvalue() == b"2\n0\n1\n"
    plot_curves(task)
    assert (counted / "curves.png").stat().st_size > 1000


def test_a_task_of_ones_own_resumes_where_it_was_stopped(counted, tmp_path):
    config = counting.get_config()

    def scores(step):
        if step > 100:
            raise scripted.Stopped
        return {"loss": 1.0, "error": 50.0}

    run = scripted.start(config, tmp_path, scores, compiled="counting")
    with pytest.raises(scripted.Stopped):
        run.to_the_end()
    run.close()
    train(config, tmp_path)
    like = run.state
    stores = [Checkpoints(path / "checkpoints", reading=True) for path in (counted, tmp_path)]
    alone, resumed = (store.restore(like) for store in stores)
    assert alone.step == resumed.step == 200
    jax.tree.map(np.testing.assert_array_equal, alone.arrays, resumed.arrays)


def test_a_cell_of_ones_own_is_found_by_its_file_with_a_structure_of_r(cells):
    assert find_cell(f"{cells}:LEAKY").name == "leaky"
    assert find_cell(f"{cells}:LEAKY/diagonal").recurrence == "diagonal"
    assert find_cell("rnnlab.cells.lstm:LSTM") is CELLS["lstm"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{}:LEEKY", "has no LEEKY; it has .*LEAKY"),
        ("{}:NUMBER", "is not a Cell but of type int"),
        ("nowhere.py:LEAKY", "cannot be imported: FileNotFoundError"),
        ("no.such.module:LEAKY", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_is_no_cell_is_refused(cells, tiny_config, tmp_path, name, message):
    name = name.format(cells)
    with pytest.raises(ValueError, match=message):
        find_cell(name)
    with pytest.raises(UserError, match=message):
        create_task(tiny_config(model__encoder__cell=name), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_file_that_fails_is_told_of_in_a_line(cells):
    cells.write_text("1 / 0")
    with pytest.raises(ValueError, match="cannot be imported: ZeroDivisionError: division by zero"):
        find_cell(f"{cells}:LEAKY")


def test_a_run_knows_the_file_of_its_cell_and_that_it_is_unchanged(cells, tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(cells.parent)
    config = tiny_config(model__encoder__cell="mine.py:LEAKY", training__steps=10, training__evaluate_every=10)
    train(config, tmp_path / "w")
    monkeypatch.chdir("/")
    task = open_task(tmp_path / "w")
    assert task.config.model.encoder.cell == f"{cells}:LEAKY"
    predict(task, io.BytesIO(b"abc\n"), answers := io.BytesIO())
    assert len(answers.getvalue().splitlines()) == 1
    cells.write_text(CELL.replace("0.5", "0.25"))
    with pytest.raises(UserError, match=r"mine\.py has changed since the run was started"):
        open_task(tmp_path / "w")
    cells.unlink()
    with pytest.raises(UserError, match=r"no file .*mine\.py"):
        open_task(tmp_path / "w")


def test_the_code_of_a_work_directory_is_never_run(cells, tiny_config, tmp_path):
    workdir = tmp_path / "w"
    create_task(tiny_config(model__encoder__cell=f"{cells}:LEAKY"), workdir)
    inside = workdir / "mine.py"
    shutil.copy(cells, inside)
    for name in ("config.json", "own_code.json"):
        path = workdir / name
        path.write_text(path.read_text().replace(str(cells), str(inside)))
    inside.write_text(inside.read_text() + "\nraise SystemExit")
    with pytest.raises(UserError, match="is in the work directory, where no code is run"):
        open_task(workdir)
    (workdir / "own_code.json").unlink()
    with pytest.raises(UserError, match="is in the work directory, where no code is run"):
        open_task(workdir)


@pytest.mark.parametrize("field", ["cell", "experiment"])
def test_code_that_a_work_directory_names_without_its_hash_is_not_run(cells, tiny_config, tmp_path, field):
    workdir = tmp_path / "w"
    create_task(tiny_config(), workdir)
    saved = json.loads((workdir / "config.json").read_text())
    (saved["model"]["encoder"] if field == "cell" else saved)[field] = f"{cells}:LEAKY"
    (workdir / "config.json").write_text(json.dumps(saved))
    cells.write_text("raise SystemExit")
    with pytest.raises(UserError, match=r"mine\.py:LEAKY' has no hash in own_code\.json, so its code is not run"):
        open_task(workdir)


def test_a_thing_that_is_no_task_is_refused(cells, tmp_path):
    config = counting.get_config()
    for name, message in ((f"{cells}:LEAKY", "is not a rnnlab.tasks.base.Task"), ("secseq", "unknown 'secseq'")):
        config.experiment = name
        with pytest.raises(UserError, match=rf"config\.experiment: .*{message}"):
            create_task(config, tmp_path / "w")


def test_a_task_that_answers_no_lines_says_so(counted):
    with pytest.raises(UserError, match="does not have this mode"):
        open_task(counted).breakdown()


def test_the_fields_of_a_task_of_ones_own_are_printed(counted):
    lines = tiny.launch(f"--workdir={counted}", "--mode=config").communicate()[0].splitlines()
    assert "model.cell = 'gru'" in " ".join(lines)
    assert any(line.startswith("training.steps = 200 ") and line.endswith("above 0") for line in lines)
