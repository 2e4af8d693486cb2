import itertools
import json
import math
import pathlib
import re

import jax
import numpy as np
import pytest
import scipy.special

from rnnlab.errors import UserError
from rnnlab.run import load
from rnnlab.tasks.lag.task import LagTask, default_config
from rnnlab.training.loop import train
from rnnlab.training.step import split_model
from rnnlab.training.workdir import create_task


def _config(**fields):
    config = default_config()
    config.model.update({"cell": "gru", "features": 8})
    config.data.lag = 8
    training = {"steps": 40, "steps_per_call": 10, "batch_size": 16, "log_every": 20, "evaluate_every": 20}
    config.training.update(training | {"checkpoint_every": 20, "measure_every": 20, "learning_rate": 0.02})
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


def test_blocks_and_sizes_are_fields_of_a_config(tmp_path):
    fields = {"model__layers": 2, "model__sizes": "8, 6"}
    stack = LagTask(_config(**fields), tmp_path).make_model().stack
    assert stack.widths == (8, 6)
    fields = {"model__layers": 2, "model__block": "prenorm", "model__norm": "batch", "model__cell": "s5"}
    assert len(LagTask(_config(**fields), tmp_path).make_model().stack.prenorm.blocks) == 2
    for wrong, message in (
        ({"model__sizes": "8,6"}, r"config.model: sizes: 2 of them \('8,6'\), but 1 layers"),
        ({"model__block": "pre"}, "config.model: block: unknown value 'pre'; allowed: plain, residual, prenorm"),
    ):
        with pytest.raises(UserError, match=message):
            LagTask.check(_config(**wrong))


@pytest.mark.parametrize(("name", "lag"), [("adding", 8), ("copy_memory", 2), ("wave", 12)])
def test_the_loss_is_the_mean_over_the_answers_that_count(tmp_path, name, lag):
    task = LagTask(_config(data__name=name, data__lag=lag), tmp_path)
    model, batch = task.make_model(), task.draw("train", 6)
    found = task.loss(model, batch, (), rngs=None, step=jax.numpy.int32(0))
    outputs, labels, weights = (np.asarray(x) for x in (model(batch.inputs), batch.labels, batch.weights))
    if name == "copy_memory":
        every = -np.take_along_axis(scipy.special.log_softmax(outputs, -1), labels[..., None], -1)[..., 0]
    else:
        every = (outputs[..., 0] - labels) ** 2
    assert float(found.total / found.weight) == pytest.approx(float(every[weights].mean()), rel=1e-5)
    assert int(found.weight) == int(weights.sum())


def test_a_run_is_trained_scored_and_loaded_by_the_ordinary_commands(tmp_path, capsys):
    train(_config(), tmp_path / "w")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["split"] == "test"
    assert told["floor"] == pytest.approx(1 / 6)
    run = load(tmp_path / "w")
    assert run.scores("test") == told
    outputs = run.model(run.task.draw("test", 256).inputs)
    batch = run.task.draw("test", 256)
    assert told["loss"] == pytest.approx(float(((outputs[..., 0] - batch.labels)[-1] ** 2).mean()), rel=1e-4)
    assert {row["split"] for row in run.metrics()} == {"train", "validation", "flow"}
    with pytest.raises(UserError, match="lag does not predict from lines"):
        run.predict(["a"])


def test_classes_have_an_accuracy_by_which_the_best_step_may_be_chosen(tmp_path):
    fields = {"data__name": "parity", "training__best_metric": "accuracy", "evaluation__sequences": 64}
    task = create_task(_config(**fields), tmp_path / "w")
    params = split_model(task.make_model())[1]
    scores = task.evaluator(final=True)(params, "validation")
    batch = task.draw("validation", 64)
    right = np.asarray(task.make_model()(batch.inputs)).argmax(-1)[-1] == np.asarray(batch.labels)[-1]
    assert scores["accuracy"] == pytest.approx(100 * right.mean())
    assert scores["floor"] == math.log(2)
    assert not task.lower_is_better("accuracy")


def test_batches_are_those_of_the_seed_and_their_number_however_many_are_drawn_at_once(tmp_path):
    batches = {}
    for ahead in (1, 4):
        task = LagTask(_config(training__steps_per_call=ahead, data__name="wave"), tmp_path)
        drawn = task.batches(seed=5, process=0, processes=1)
        batches[ahead] = [next(drawn).inputs for _ in range(8)]
        again = task.batches(seed=5, process=0, processes=1)
        again.set_state({"number": 6})
        np.testing.assert_array_equal(next(again).inputs, batches[ahead][6])
    np.testing.assert_allclose(batches[1], batches[4], rtol=1e-6)
    other = task.batches(seed=6, process=0, processes=1)
    assert not np.allclose(next(other).inputs, batches[1][0])
    halves = [next(task.batches(seed=5, process=i, processes=2)).inputs for i in (0, 1)]
    np.testing.assert_allclose(np.concatenate(halves, axis=1), batches[1][0], rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data__name", "addin", r"config\.data\.name: unknown problem 'addin'; allowed: adding, copy_memory"),
        ("data__name", "wave:perod=3", r"config\.data\.name: unknown option 'perod' of wave; allowed: period, decay"),
        ("data__name", "wave:period=x", r"period='x' of wave is not of type int"),
        ("data__name", "adding:x=1", r"unknown option 'x' of adding; it has no options"),
        ("data__name", "wave:open", r"unknown option 'open' of wave; allowed: period, decay"),
        ("data__name", "wave:period", r"option 'period' of wave: write period=value, once"),
        ("data__name", "wave:period=5,period=6", r"option 'period' of wave: write period=value, once"),
        ("data__lag", 1, r"config\.data: adding with a lag of 1: a lag of 1 is too short"),
        ("model__cell", "grru", r"config\.model: cell: unknown"),
        ("training__best_metric", "accuracy", r"best_metric: 'accuracy' is not a metric of adding; allowed: loss"),
        ("training__intervention", "chrono:2+x", r"config\.training\.intervention: unknown"),
        ("evaluation__sequences", 0, r"config\.evaluation\.sequences: 0 is not allowed"),
    ],
)
def test_what_no_run_can_use_is_refused_before_anything_is_written(tmp_path, field, value, message):
    with pytest.raises(UserError, match=message):
        create_task(_config(**{field: value}), tmp_path / "w")
    assert not (tmp_path / "w").exists()


OWN = """
import jax
import jax.numpy as jnp
from rnnlab.data.lag_problems import LagBatch, LagProblem, adding

def last(lag, *, classes: int = 3, reverse: bool = False):
    def sample(data, key, batch, split):
        ids = jax.random.randint(key, (lag, batch), 0, classes)
        answers = classes - 1 - ids if reverse else ids
        return LagBatch(ids, answers, jnp.ones((lag, batch), bool))
    return LagProblem(lag, classes, classes, FLOOR, sample)

def fails(lag):
    raise RuntimeError("out of ideas")

def other(lag):
    return lag

def tuple_of(lag):
    return adding(lag).__class__(lag, 2, 1, 0.0, lambda data, key, batch, split: (1, 2, 3))

def seven(lag):
    return adding(lag).__class__(lag, 2, 1, 0.0, lambda data, key, batch, split: adding(lag).draw(key, 7, split))

def breaks(lag):
    return adding(lag).__class__(lag, 2, 1, 0.0, lambda data, key, batch, split: jnp.zeros(3) + jnp.zeros(4))

NUMBER = 3
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN.replace("FLOOR", "1.5"))
    return path


def test_a_problem_of_ones_own_takes_options_and_is_what_its_file_says_now(own, tmp_path):
    config = _config(data__name=f"{own}:last,classes=4,reverse=true")
    task = create_task(config, tmp_path / "w")
    batch = task.draw("train", 5)
    np.testing.assert_array_equal(batch.labels, 3 - np.asarray(batch.inputs))
    assert task.problem.floor == 1.5
    own.write_text(OWN.replace("FLOOR", "2.5"))
    assert create_task(config, tmp_path / "again").problem.floor == 2.5
    with pytest.raises(UserError, match=r"mine\.py has changed since the run was started"):
        create_task(config, tmp_path / "w")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", "fails with a lag of 8: RuntimeError: out of ideas"),
        ("other", "it makes a int, not a LagProblem"),
        ("tuple_of", "its sample is a tuple, not a LagBatch"),
        ("seven", r"its inputs of 3 sequences are float32\[8, 7, 2\], not floating\[8, 3, 2\]"),
        ("breaks", "TypeError: "),
        ("NUMBER", "is not a function from a lag to a LagProblem"),
        ("last,reverse=yes", "reverse='yes' of .*:last is not of type bool"),
    ],
)
def test_a_problem_of_ones_own_that_is_none_is_one_clear_line(own, tmp_path, name, message):
    with pytest.raises(UserError, match=rf"config\.data.*{message}"):
        create_task(_config(data__name=f"{own}:{name}"), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_images_are_scored_whole(tmp_path):
    """Each of the 299 images of the test split once, however many at once."""
    fields = {"data__name": "digits", "data__lag": 8}
    found = []
    for sequences in (64, 299):
        task = LagTask(_config(**fields, evaluation__sequences=sequences), tmp_path)
        found.append(task.evaluator(final=False)(split_model(task.make_model())[1], "test"))
    whole = task.problem.whole("test")
    right = np.asarray(task.make_model()(whole.inputs)).argmax(-1)[-1] == np.asarray(whole.labels)[-1]
    assert found[0]["accuracy"] == found[1]["accuracy"] == pytest.approx(100 * right.mean())
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-5)


def test_a_split_that_there_is_not_is_refused(tmp_path):
    train(_config(), tmp_path / "w")
    with pytest.raises(UserError, match="split 'nope': not available; allowed: train, validation, test"):
        load(tmp_path / "w").scores("nope")


@pytest.mark.nightly
def test_the_example_of_the_docs_is_trained(tmp_path, monkeypatch):
    docs = (pathlib.Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")
    section = docs.partition("## Your own problem with a known lag")[2]
    (code,), given = (
        re.findall(r"```python\n(.*?)```", section, re.DOTALL),
        re.findall(r"--config\.(\S+?)=(\S+)", section),
    )
    (tmp_path / code.splitlines()[0].removeprefix("# ")).write_text(code)
    monkeypatch.chdir(tmp_path)
    config = _config()
    config.update_from_flattened_dict(dict(given))
    train(config, tmp_path / "w")
    run = load(tmp_path / "w")
    assert run.scores("test")["floor"] == math.log(4)
    tests = [run.task.draw(split, 40).inputs for split in ("train", "validation", "test")]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(tests, 2))
