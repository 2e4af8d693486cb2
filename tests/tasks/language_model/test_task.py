"""What is trained: losses with carried states, resumed and split; and what is refused."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx

from rnnlab.data.vocabulary import Vocabulary
from rnnlab.errors import UserError
from rnnlab.run import load
from rnnlab.tasks.language_model.task import LanguageModelTask
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.loop import Training, train
from rnnlab.training.optimizer import NonMonotone
from rnnlab.training.programs import Programs
from rnnlab.training.reporting import read_metrics
from rnnlab.training.step import split_model
from rnnlab.training.workdir import create_task
from tests import tiny


def _task(config, workdir) -> LanguageModelTask:
    task = LanguageModelTask.create(config, workdir)
    task.open_data()
    return task


def _nats(model, inputs, labels) -> np.ndarray:
    """-log p of each label `[time, batch]`, read from initial states in one piece."""
    logits = np.asarray(model(jnp.asarray(inputs), model.start(inputs.shape[1])).logits)
    return -np.take_along_axis(scipy.special.log_softmax(logits, -1), labels[..., None], -1)[..., 0]


@pytest.mark.parametrize("initial_state", ["zero", "learnt"])
def test_the_loss_of_pieces_with_a_carried_state_is_that_of_the_whole(make_config, tmp_path, initial_state):
    task = _task(make_config(model__initial_state=initial_state, training__random_bptt=True), tmp_path)
    model = task.make_model()
    if initial_state == "learnt":
        model.stack.layers[0][0].start["h"][...] = jnp.linspace(-1, 1, 16)
    batches = task.batches(seed=3, process=0, processes=1)
    carry, pieces, found = task.start_carry(model, 8), [], []
    loss = jax.jit(lambda batch, carry: task.loss(model, batch, carry, rngs=None, step=jnp.int32(0)))
    carry = jax.tree.map(lambda entry: entry + 9, carry)  # of other streams, which the first piece is not to see
    for _ in range(4):
        pieces.append(next(batches))
        result = loss(pieces[-1], carry)
        carry = result.carry
        found.append(float(result.total))
        assert float(result.weight) == pieces[-1].lengths.sum()
    whole = [np.concatenate([getattr(p, name)[: p.lengths[0]] for p in pieces]) for name in ("inputs", "labels")]
    wanted = _nats(model, *whole)
    ends = np.cumsum([p.lengths[0] for p in pieces])
    np.testing.assert_allclose(found, [part.sum() for part in np.split(wanted, ends[:-1])], rtol=1e-5)


def test_learnt_initial_states_have_gradients_where_streams_begin_and_not_after(make_config, tmp_path):
    task = _task(make_config(model__initial_state="learnt"), tmp_path)
    graph, params = nnx.split(task.make_model())
    batches = task.batches(seed=0, process=0, processes=1)

    def gradient(batch):
        def loss(params):
            model = nnx.merge(graph, params)
            return task.loss(model, batch, model.start(8), rngs=None, step=jnp.int32(0)).total

        return np.abs(jax.grad(lambda p: loss(p))(params)["stack"]["layers"][0][0]["start"]["h"][...]).max()

    first, second = (jax.device_put(next(batches)) for _ in range(2))
    assert first.starts.all()
    assert gradient(first) > 0
    carried = jax.tree.map(jax.lax.stop_gradient, task.make_model().start(8))
    graph_loss = jax.grad(
        lambda params: task.loss(nnx.merge(graph, params), second, carried, rngs=None, step=jnp.int32(0)).total
    )
    assert np.abs(graph_loss(params)["stack"]["layers"][0][0]["start"]["h"][...]).max() == 0


def test_activations_are_regularised_as_merity_does_and_short_pieces_count_less(make_config, tmp_path):
    """The gradient is that of mean loss + AR + TAR, times length / bptt; the logged loss is the mean loss alone."""
    alpha, beta = 2.0, 1.0
    fields = {"training__activation_regularisation": alpha, "training__temporal_regularisation": beta}
    task = _task(make_config(**fields, training__random_bptt=True), tmp_path)
    graph, params = nnx.split(task.make_model())
    batch = next(task.batches(seed=0, process=0, processes=1))
    batch = jax.device_put(batch._replace(lengths=np.full_like(batch.lengths, 5)))

    def given(params):
        found = task.loss(nnx.merge(graph, params), batch, (), rngs=nnx.Rngs(0), step=jnp.int32(0))
        return found.total / found.weight

    def wanted(params):
        model = nnx.merge(graph, params)
        inputs, labels = batch.inputs[:5], batch.labels[:5]
        read = model(jnp.asarray(inputs), model.start(8))
        log_p = jax.nn.log_softmax(read.logits)
        mean = -jnp.take_along_axis(log_p, jnp.asarray(labels)[..., None], -1).mean()
        h = read.outputs
        penalty = alpha * jnp.square(h).mean() + beta * jnp.square(h[1:] - h[:-1]).mean()
        return mean, 5 / 12 * (mean + penalty)

    assert float(given(params)) == pytest.approx(float(wanted(params)[0]), rel=1e-5)
    own, other = jax.grad(given)(params), jax.grad(lambda p: wanted(p)[1])(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), own, other)


def _arrays(run, workdir):
    return Checkpoints(workdir / "checkpoints", reading=True).restore(run.state).arrays


REGULARISED = {
    "model__embedding": 16,
    "model__layers": 2,
    "model__tied_embeddings": True,
    "model__variational": True,
    "model__embedding_dropout": 0.1,
    "model__input_dropout": 0.1,
    "model__dropout": 0.1,
    "model__output_dropout": 0.1,
    "model__weight_drop": 0.1,
    "model__cell": "lstm",
    "training__random_bptt": True,
    "training__activation_regularisation": 1.0,
    "training__temporal_regularisation": 1.0,
    "training__optimizer": "nt_asgd",
    "training__nonmonotone": 1,
    "training__learning_rate": 3.0,
    "training__schedule": "constant",
    "training__evaluate_every": 6,
    "training__checkpoint_every": 4,
    "training__log_every": 2,
    "training__steps": 60,
}


def test_a_stopped_run_with_a_carried_state_random_lengths_and_nt_asgd_ends_bit_identical(make_config, tmp_path):
    config = make_config(**REGULARISED)
    train(config, tmp_path / "alone")
    task = create_task(config, tmp_path / "stopped")
    programs = Programs(task)
    for last in (10, 35):  # what came after the last checkpoint is lost
        with Training(task, programs) as run:
            run.until(last)
    with Training(task, programs) as run:
        assert run.step == 32
        run.to_the_end()
    alone, stopped = (_arrays(run, tmp_path / name) for name in ("alone", "stopped"))
    jax.tree.map(np.testing.assert_array_equal, alone, stopped)
    assert np.abs(alone.carry[0][0]).min() > 0
    (trigger,) = (
        part
        for part in jax.tree.leaves(alone.optimizer, is_leaf=lambda p: isinstance(p, NonMonotone))
        if isinstance(part, NonMonotone)
    )
    assert trigger.begun
    assert 0 < trigger.steps < 60


@pytest.mark.nightly
def test_streams_are_split_over_devices(make_config, text_files, tmp_path):
    """Eight simulated devices, several steps in a call, beside one device."""
    config = tmp_path / "config.py"
    code = """
from rnnlab.tasks.language_model.config import default_config

def get_config():
    config = default_config()
    config.update_from_flattened_dict({fields})
    return config
"""
    fields = {"training.steps": 10, "training.steps_per_call": 5, "training.log_every": 5, "training.random_bptt": True}
    fields |= {"training.evaluate_every": 10, "training.checkpoint_every": 10, "evaluation.samples": 0}
    plain = {k: v for k, v in _flat(make_config()).items() if not k.startswith("data.files")}
    files = {f"data.files.{split}": name for split, name in text_files.items()}
    config.write_text(code.replace("{fields}", repr(plain | files | fields)))
    process = tiny.launch(f"--config={config}", f"--workdir={tmp_path / 'eight'}", devices=8)
    _, told = process.communicate()
    assert process.returncode == 0, told
    one = make_config(**{name.replace(".", "__"): v for name, v in fields.items() if name != "training.steps_per_call"})
    train(one, tmp_path / "one")
    losses = [
        {row["step"]: float(row["value"]) for row in read_metrics(tmp_path / name) if row["name"] == "loss"}
        for name in ("eight", "one")
    ]
    for step, value in losses[0].items():
        assert value == pytest.approx(losses[1][step], abs=1e-4)


def _flat(config, prefix=""):
    found = {}
    for name, value in config.items():
        found |= _flat(value, f"{prefix}{name}.") if hasattr(value, "items") else {f"{prefix}{name}": value}
    return found


@pytest.mark.nightly
def test_a_recurrence_is_watched_interventions_hold_and_its_flow_is_measured(make_config, tmp_path):
    fields = {"training__intervention": "orthogonal+flossing:2", "training__measure_every": 20}
    train(make_config(**fields), tmp_path / "w")
    rows = read_metrics(tmp_path / "w")
    assert {row["name"] for row in rows if row["split"] == "flow"} >= {"0/exponent", "0/log_norm"}
    task = load(tmp_path / "w").task
    batch, model = jax.device_put(task.probe("validation")), task.make_model()
    assert batch.lengths.tolist() == [12] * 8
    wanted = _nats(model, *map(np.asarray, (batch.inputs, batch.labels))).mean()
    assert float(task.watched_loss(model, batch)) == pytest.approx(wanted, rel=1e-5)


def test_a_run_keeps_its_vocabulary_and_refuses_another_text(make_config, text_files, tmp_path):
    config = make_config()
    train(config, tmp_path / "w")
    assert Vocabulary.load(tmp_path / "w" / "vocabulary.json") == load(tmp_path / "w").task.vocabulary
    assert LanguageModelTask.has_data_of(config, tmp_path / "w")
    other = tmp_path / "other.txt"
    other.write_text("the cat hears zebras.\n" * 30)
    changed = make_config(data__files__test=str(other))
    assert not LanguageModelTask.has_data_of(changed, tmp_path / "w")
    with pytest.raises(UserError, match=r"other\.txt: the test text has changed"):
        train(changed, tmp_path / "w")
    moved = tmp_path / "moved"
    moved.mkdir()
    for split, name in text_files.items():
        (moved / f"{split}.txt").write_text(pathlib.Path(name).read_text())
    files = {f"data__files__{split}": f"{split}.txt" for split in text_files}
    train(make_config(**files, data__directory=str(moved)), tmp_path / "w")  # the same texts, elsewhere


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"training__batch_size": 4096}, r"train\.txt: [\d,]+ tokens to train on, fewer than one batch of .*=4096"),
        ({"data__files__train": ""}, "a file for test, but no file for train"),
        ({"model__tied_embeddings": True}, "tied_embeddings: True needs an embedding, whose size is 0"),
        ({"model__tied_embeddings": True, "model__embedding": 8}, "last layer has 16 features, the embedding 8"),
        ({"model__block": "prenorm", "model__norm": "batch"}, "norm: 'batch' would leak later steps"),
        ({"training__best_metric": "wer"}, "best_metric: unknown 'wer'; allowed: 'loss', 'perplexity'"),
        ({"evaluation__stop": "word"}, "evaluation.stop: unknown 'word'; allowed: '', 'line'"),
        ({"evaluation__dynamic_rate": 0.1, "evaluation__streams": 2}, "evaluation.streams: 2 with dynamic_rate=0.1"),
        ({"data__validation_share": 0.6, "data__test_share": 0.5}, "leave nothing to train on"),
        ({"data__unit": "letter"}, "config.data.unit: unknown value 'letter'; allowed: 'character', 'byte'"),
        ({"data__unit": "subword", "data__size": 5}, "config.data.size: 5 is too small"),
    ],
)
def test_a_config_that_no_run_can_use_is_one_line(make_config, tmp_path, fields, message):
    with pytest.raises(UserError, match=message):
        create_task(make_config(**fields), tmp_path / "w")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("unit", ["byte", "word", "symbol", "subword"])
def test_scores_of_any_unit_are_those_of_the_text(make_config, tmp_path, unit):
    task = _task(make_config(data__unit=unit, data__size=60, data__min_count=2), tmp_path)
    told = task.evaluator(final=True)(split_model(task.make_model())[1], "test")
    text = pathlib.Path(make_config().data.files.test).read_text()
    tokens = {
        "byte": len(text.encode()),
        "word": len(re.findall(r"\w+|[.!]|\n", text)),
        "symbol": len(text.replace("\n", " \n ").strip(" ").split(" ")),
    }
    assert told["characters"] == len(text)
    assert told["tokens"] == tokens.get(unit, told["tokens"])
    assert told["unknown"] == 0
    assert told["loss"] == pytest.approx(told["bits_per_token"] * np.log(2))
    nats = told["loss"] * told["tokens"]
    assert told["bits_per_character"] == pytest.approx(nats / np.log(2) / len(text))
