import json
import math

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
    with pytest.raises(UserError, match="lag answers no lines"):
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
        ("data__name", "addin", r"config\.data: unknown problem 'addin'; allowed: adding, copy_memory"),
        ("data__name", "wave:perod=3", r"an option of wave: unknown value 'perod'; allowed: period, decay"),
        ("data__name", "wave:period=x", r"period='x' of wave is not of type int"),
        ("data__lag", 1, r"config\.data: a lag of 1 is too short"),
        ("model__cell", "grru", r"config\.model: cell: unknown"),
        ("training__best_metric", "accuracy", r"best_metric: 'accuracy' is no metric of adding; allowed: loss"),
        ("training__intervention", "chrono:2+x", r"config\.training\.intervention: unknown"),
        ("evaluation__sequences", 0, r"config\.evaluation\.sequences: 0 is not allowed"),
    ],
)
def test_what_no_run_can_use_is_refused_before_anything_is_written(tmp_path, field, value, message):
    with pytest.raises(UserError, match=message):
        create_task(_config(**{field: value}), tmp_path / "w")
    assert not (tmp_path / "w").exists()
