import csv
import functools
import json
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import draw_module

from rnnlab.data.batch import Batch
from rnnlab.data.corpus import Example
from rnnlab.data.vocabulary import BOS, EOS
from rnnlab.losses import cross_entropy
from rnnlab.models.decoder import Decoder
from rnnlab.models.encoder import Encoder
from rnnlab.models.seq2seq import Seq2Seq
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.tasks.seq2seq.data import probe_batch
from rnnlab.training.flow import FlowProbe, measure_flow
from rnnlab.training.loop import train
from rnnlab.training.report import best_params
from rnnlab.training.step import split_model
from rnnlab.training.watch import no_nudges, watched
from rnnlab.training.workdir import open_task
from tests import nightly
from tests.runs import task_of

TASK = task_of(default_config())
SOURCE, TARGETS = jnp.array([[3, 4], [5, 6], [4, 3]]), jnp.array([[1, 1], [4, 5], [5, 4], [6, 6]])

VECTORS = {"exponents", "log_singular_values", "input_gradient", "recurrent_gradient", *(f"gate_{g}" for g in "ifgo")}


def _model(encoder=(), decoder=(), **fields) -> Seq2Seq:
    side = {"cell": "lstm", "features": 5, "embedding": 4, "layers": 2}
    encoder = side | {"bidirectional": True} | dict(encoder)
    decoder = side | {"cell": "gru", "features": 6} | dict(decoder)
    return draw_module(lambda: Seq2Seq(8, 9, encoder=encoder, decoder=decoder, rngs=nnx.Rngs(0), **fields))


def _batch(targets=TARGETS) -> Batch:
    labels = jnp.concatenate([targets[1:], jnp.array([[2, 2]])])
    return Batch(SOURCE, jnp.array([3, 3]), targets, labels, jnp.full(2, len(targets)))


@pytest.mark.parametrize(
    "fields",
    [
        *nightly.only({}, {"attention": "general", "context": "every_step"}, {"attention": "additive"}),
        {"attention": "general", "input_feeding": True, "encoder": {"zoneout": 0.2, "zoneout_cell": 0.4}},
        *nightly.only({"bridge": "last"}),
        *nightly.only(
            {"encoder": {"block": "prenorm", "norm": "batch"}, "decoder": {"block": "prenorm"}, "attention": "general"}
        ),
    ],
)
def test_a_watched_model_has_the_states_and_the_loss_of_the_model(fields):
    """The same cells run over what the records say, by a loop of their own, end in the states of the model."""
    if fields.get("bridge") == "last":
        fields = fields | {"encoder": {"features": 3}, "decoder": {"cell": "lstm"}}
    model, batch = _model(**fields), _batch()
    loss_of_batch = functools.partial(TASK.watched_loss, batch=batch)
    merge, params = split_model(model)
    nudges = no_nudges(loss_of_batch, model)
    loss, records = jax.jit(lambda params: watched(loss_of_batch, merge(params), nudges))(params)
    assert sorted(records) == sorted(
        [
            *(f"encoder/{n}/{d}" for n in (0, 1) for d in ("forward", "backward")),
            "decoder/0",
            "decoder/1",
        ]
    )
    logits = nnx.jit(Seq2Seq.__call__)(model, SOURCE, jnp.array([3, 3]), TARGETS)
    expected = cross_entropy(logits, batch.labels, jnp.ones_like(batch.labels)) / 8
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    states, memory = nnx.jit(Seq2Seq.encode)(model, SOURCE, jnp.array([3, 3]))
    _, encoded = nnx.jit(Encoder.__call__)(model.encoder, SOURCE, jnp.array([3, 3]))
    decoder_states, step = states, nnx.jit(Decoder.step)
    for token in TARGETS:
        decoder_states, _ = step(model.decoder, decoder_states, token, memory)
    half = model.encoder.stack.out_features // 2
    for name, (params, inputs, state, trajectory) in records.items():
        side, layer, *direction = name.split("/")
        cell = getattr(model, side).stack.layers[0][0].evaluated_cell
        for x in inputs:
            state = cell.combine(params, state, x @ params["W"] + params["b"], state[0] @ params["R"])
        final = encoded if side == "encoder" else decoder_states
        own = slice(None) if not direction else slice(0, half) if direction == ["forward"] else slice(half, None)
        np.testing.assert_allclose(state[0], final[int(layer)][0][:, own], atol=1e-6)
        np.testing.assert_allclose(trajectory.after[0], state[0], atol=1e-6)


@pytest.mark.nightly
@pytest.mark.parametrize("attention", ["general", "additive"])
def test_what_the_steps_add_to_the_gradient_makes_that_of_the_whole_model(attention):
    """Over a single pair the parts h_(t-1)^T d_t add up to dL/dR by autodiff through the model's own scan."""
    model = _model(attention=attention)
    batch = jax.tree.map(lambda value: value[..., :1], _batch())
    merge, params = split_model(model)

    def of_params(params):
        logits = merge(params)(batch.source, batch.source_lengths, batch.inputs)
        return cross_entropy(logits, batch.labels, jnp.ones_like(batch.labels)) / batch.labels.size

    expected = jax.jit(jax.grad(of_params))(params)
    loss_of_batch = functools.partial(TASK.watched_loss, batch=batch)
    watch = jax.value_and_grad(lambda n: watched(loss_of_batch, merge(params), n), has_aux=True)
    (_, records), parts = jax.jit(watch)(no_nudges(loss_of_batch, model))
    for name, path in {
        "encoder/0/backward": "encoder/stack/layers/0/1/params/R",
        "encoder/1/forward": "encoder/stack/layers/1/0/params/R",
        "decoder/0": "decoder/stack/layers/0/0/params/R",
    }.items():
        before = records[name].trajectory.before[0]
        np.testing.assert_allclose(
            jnp.einsum("tbh,tbg->hg", before, parts[name].recurrent), expected[path], atol=1e-6, rtol=1e-4
        )


@pytest.mark.nightly
def test_the_gradient_by_step_is_that_of_autodiff_through_the_whole_encoder(trained):
    experiment = open_task(trained)
    merge, params = split_model(experiment.make_model())
    found = FlowProbe(experiment, probe_batch(experiment, [Example("abcd", ("A B C D",))])).measure(params)[
        "encoder/0/forward"
    ]
    model = merge(params)
    source = jnp.asarray(experiment.source.encode("abcd"))[:, None]
    labels = jnp.asarray([*experiment.target.encode("A B C D"), EOS])[:, None]
    inputs = jnp.concatenate([jnp.array([[BOS]]), labels[:-1]])

    def loss(nudges):
        def read(*_args, **_options):
            embedded = model.encoder.embedding(source)
            forward, backward = model.encoder.stack.layers[0]
            (ahead, end), (back, other) = forward(embedded + nudges), backward(embedded, reverse=True)
            joined = tuple(jnp.concatenate(pair, axis=-1) for pair in zip(end, other, strict=True))
            return jnp.concatenate([ahead, back], axis=-1), (joined,)

        with mock.patch.object(type(model.encoder), "__call__", read):
            logits = model(source, jnp.array([4]), inputs)
        return cross_entropy(logits, labels, jnp.ones_like(labels)) / 5

    norms = jnp.linalg.norm(jax.jit(jax.grad(loss))(jnp.zeros((4, 1, model.encoder.embedding.features))), axis=-1)[:, 0]
    np.testing.assert_allclose(found.vectors["input_gradient"], norms, rtol=1e-4)
    np.testing.assert_allclose(found.values["early_share"], norms[:2].sum() / norms.sum(), rtol=1e-4)


def test_a_run_measures_at_its_interval_and_trains_the_same_without(tiny_config, tmp_path):
    scores = {}
    for every in (0, 20):
        train(tiny_config(training__measure_every=every), tmp_path / str(every))
        with (tmp_path / str(every) / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        flow = [row for row in rows if row["split"] == "flow"]
        assert {row["step"] for row in flow} == ({"20", "40"} if every else set())
        assert all(np.isfinite(float(row["value"])) for row in flow)
        with (tmp_path / str(every) / "vectors.csv").open(newline="") as file:
            vectors = list(csv.DictReader(file))
        assert {row["step"] for row in vectors} == {row["step"] for row in flow}
        assert {row["name"].removeprefix("decoder/0/") for row in vectors if "decoder" in row["name"]} == (
            VECTORS if every else set()
        )
        scores[every] = [row["value"] for row in rows if row["name"] == "loss"]
    assert scores[0] == scores[20]


def test_a_terminal_shows_a_line_for_each_recurrence_and_no_json(trained, capsys, monkeypatch):
    task = open_task(trained)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    measure_flow(task, best_params(task)[1], "validation")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["decoder/0", "encoder/0/forward", "encoder/0/backward"]


def test_everything_is_measured_of_a_work_directory(trained, capsys):
    task = open_task(trained)
    measure_flow(task, best_params(task)[1], "validation")
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found) == {"encoder/0/forward", "encoder/0/backward", "decoder/0"}
    for values in found.values():
        singular = np.array(values["log_singular_values_by_lag"])
        np.testing.assert_allclose(singular[:, 0] - singular[:, -1], values["log_conditions"], rtol=1e-4)
        np.testing.assert_allclose(singular[-1], values["log_singular_values"], rtol=1e-4, atol=1e-4)
        assert (np.array(values["log_norms"]) <= singular[:, 0] + 1e-3).all()  # of h alone, within that of the state
        assert values["exponents"] == sorted(values["exponents"], reverse=True)
