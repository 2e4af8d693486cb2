import jax
import numpy as np
import pytest

from rnnlab.errors import UserError
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.flow import FlowProbe
from rnnlab.training.intervention import Intervention
from rnnlab.training.loop import Training, train
from rnnlab.training.programs import Programs
from rnnlab.training.step import split_model
from rnnlab.training.workdir import create_task, open_task


def _start(trained, text):
    experiment = open_task(trained)
    model = experiment.make_model()
    _, params = split_model(model)
    return params, Intervention(text, model).start(params, seed=0, longest=6)


def test_every_recurrence_is_treated_and_nothing_else(trained):
    before, after = _start(trained, "identity:0.5")
    assert list(after) == list(before)
    treated = [name for name in after if not np.array_equal(before[name], after[name])]
    assert treated == [name for name in before if name.endswith("/params/R")]
    assert len(treated) == 3
    for name in treated:
        np.testing.assert_array_equal(after[name], np.tile(0.5 * np.eye(after[name].shape[0]), (1, 4)))


def test_two_recurrences_are_not_drawn_alike(trained):
    _, after = _start(trained, "gaussian")
    forward, backward = (after[f"encoder/stack/layers/0/{i}/params/R"] for i in (0, 1))
    assert not np.array_equal(forward, backward)


@pytest.mark.nightly
def test_a_spectral_limit_holds_at_the_end_of_a_run_for_the_average_of_the_parameters_too(tiny_config, tmp_path):
    fields = {"training__intervention": "spectral:0.3", "training__learning_rate": 0.01}
    train(tiny_config(**fields, training__average_decay=0.9), tmp_path)
    _, params = split_model(open_task(tmp_path).make_model())
    store = Checkpoints(tmp_path / "best")
    params = store.restore(params).arrays
    store.close()
    for name, value in params.items():
        if name.endswith("/params/R"):
            for block in np.split(np.asarray(jax.device_get(value)), 4, axis=1):
                assert np.linalg.norm(block, 2) <= 0.3 + 1e-5


@pytest.mark.parametrize(
    ("text", "cell", "message"),
    [
        ("chrno", "lstm", "unknown intervention 'chrno'"),
        (
            "orthogonal",
            "lstm/diagonal",
            "needs a dense R, which lstm/diagonal of encoder/stack/layers/0/0 ",
        ),
        ("chrono", "rnn", "needs a memory gate, which rnn of encoder/stack/layers/0/0 lacks"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(tiny_config, tmp_path, text, cell, message):
    config = tiny_config(training__intervention=text, model__encoder__cell=cell)
    with pytest.raises(UserError, match=message):
        train(config, tmp_path / "w")
    assert not (tmp_path / "w").exists()


@pytest.mark.nightly
@pytest.mark.parametrize(("text", "steps"), [("orthogonal:0.6+flossing:200", 1), ("orthogonal:0.6+penalty:100", 40)])
def test_flossing_brings_the_exponents_of_every_recurrence_nearer_to_none(tiny_config, tmp_path, text, steps):
    """Before training, and during it, beside a run with the same start and no flossing."""
    mean_square = {}
    for name, intervention in (("plain", "orthogonal:0.6"), ("flossed", text)):
        fields = {"steps": steps, "intervention": intervention, "evaluate_every": steps, "log_every": steps}
        config = tiny_config(
            model__encoder__bidirectional=False, model__encoder__cell="rnn", model__decoder__cell="rnn"
        )
        config.training.update(fields | {"schedule": "constant", "learning_rate": 5e-3, "checkpoint_every": 0})
        task = create_task(config, tmp_path / name)
        with Training(task, Programs(task), quiet=True) as training:
            training.to_the_end()
        flow = FlowProbe(task, task.probe("validation")).measure(jax.device_get(training.state.params))
        mean_square[name] = {cell: np.mean(own.vectors["exponents"] ** 2) for cell, own in flow.items()}
    assert len(mean_square["plain"]) == 2
    for cell, plain in mean_square["plain"].items():
        assert mean_square["flossed"][cell] < 0.8 * plain
