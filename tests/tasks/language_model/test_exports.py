import pytest

from rnnlab.tasks.language_model.prediction import TextPredictor
from rnnlab.training.step import split_model
from rnnlab.training.workdir import create_task
from tests import exporting, nightly

LINES = b"the cat\na dog\\nthe\n\n" + b"one bird sees " * 12 + b"\n\xc3\xa9"


@pytest.mark.parametrize(
    "fields",
    [
        {"evaluation__temperature": 0.9, "evaluation__beam_size": 2, "evaluation__batch_size": 4},
        *nightly.only(
            {"data__unit": "byte", "evaluation__beam_size": 3},
            {"data__unit": "symbol", "model__embedding": 8, "evaluation__stop": "line"},
            {"model__cell": "lru", "model__block": "prenorm", "model__layers": 2, "model__initial_state": "learnt"},
        ),
    ],
    ids=str,
)
def test_the_runner_continues_lines_as_predict_does(make_config, tmp_path, fields):
    task = create_task(make_config(**fields), tmp_path / "w")
    _, params = split_model(task.make_model())
    folder = exporting.export(task, params, tmp_path / "out")
    wanted = TextPredictor(task, params)(LINES.split(b"\n"), 0)
    assert exporting.run(folder, LINES) == wanted
    assert any(wanted)
