import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.data.corpus import Example
from rnnlab.models.seq2seq import Seq2Seq
from rnnlab.training import measure_flow, train
from rnnlab.training.experiment import open_experiment
from rnnlab.training.flow import FlowProbe
from rnnlab.training.step import split_model

SOURCE, TARGETS = jnp.array([[3, 4], [5, 6], [4, 3]]), jnp.array([[1, 1], [4, 5], [5, 4], [6, 6]])


def _model(**fields) -> Seq2Seq:
    side = {"cell": "lstm", "features": 5, "embedding": 4, "layers": 2}
    encoder, decoder = side | {"bidirectional": True}, side | {"cell": "gru", "features": 6}
    return Seq2Seq(8, 9, encoder=encoder, decoder=decoder, rngs=nnx.Rngs(0), **fields)


@pytest.mark.parametrize("fields", [{"attention": "general", "context": "every_step"}, {}])
def test_what_drives_a_recurrence_makes_the_states_that_the_model_has(fields):
    """The same cells run over what `drives` says, by a loop of their own, end in the states of the model."""
    model = _model(**fields)
    drives = model.drives(SOURCE, TARGETS)
    assert list(drives) == [
        *(f"encoder/{n}/{d}" for n in (0, 1) for d in ("forward", "backward")),
        "decoder/0",
        "decoder/1",
    ]
    states, memory = model.encode(SOURCE, jnp.array([3, 3]))
    _, encoded = model.encoder(SOURCE, jnp.array([3, 3]))
    decoder_states = states
    for token in TARGETS:
        decoder_states, _ = model.decoder.step(decoder_states, token, memory)
    for name, (params, inputs, state) in drives.items():
        side, layer, *direction = name.split("/")
        cell = getattr(model, side).stack.cell
        for x in inputs:
            state = cell.combine(params, state, x @ params["W"] + params["b"], state[0] @ params["R"])
        final = encoded if side == "encoder" else decoder_states
        half = slice(None) if not direction else slice(0, 5) if direction == ["forward"] else slice(5, 10)
        np.testing.assert_allclose(state[0], final[int(layer)][0][:, half], atol=1e-6)


def test_a_decoder_that_attends_before_its_step_has_no_known_inputs():
    assert all(name.startswith("encoder") for name in _model(attention="additive").drives(SOURCE, TARGETS))


def test_the_early_share_is_that_of_autodiff_through_the_whole_encoder(trained):
    experiment = open_experiment(trained)
    merge, params = split_model(experiment.make_model())
    word = Example("abcd", ("A B C D",))
    found = FlowProbe(experiment, [word]).measure(params)
    model = merge(params)
    embedded = model.encoder.embedding(jnp.asarray(experiment.source.encode("abcd"))[:, None])

    def last(inputs):
        return model.encoder.stack(inputs)[1][0][0][0, :16].sum()  # of layer 0 the forward half of h

    norms = jnp.linalg.norm(jax.grad(last)(embedded), axis=-1)[:, 0]
    np.testing.assert_allclose(found["encoder/0/forward/early_share"], norms[:2].sum() / norms.sum(), rtol=1e-4)


def test_a_run_measures_at_its_interval_and_trains_the_same_without(tiny_config, tmp_path):
    scores = {}
    for every in (0, 20):
        train(tiny_config(training__measure_every=every), tmp_path / str(every))
        with (tmp_path / str(every) / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        flow = [row for row in rows if row["split"] == "flow"]
        assert {row["step"] for row in flow} == ({"20", "40"} if every else set())
        assert all(np.isfinite(float(row["value"])) for row in flow)
        scores[every] = [row["value"] for row in rows if row["name"] == "loss"]
    assert scores[0] == scores[20]


def test_everything_is_measured_of_a_work_directory(trained, capsys):
    measure_flow(open_experiment(trained), "validation")
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found) == {"encoder/0/forward", "encoder/0/backward", "decoder/0"}
    for values in found.values():
        singular = np.array(values["log_singular_values"])
        np.testing.assert_allclose(singular[:, 0] - singular[:, -1], values["log_condition"], rtol=1e-4)
        assert (np.array(values["log_norms"]) <= singular[:, 0] + 1e-3).all()  # of h alone, within that of the state
        assert values["exponents"] == sorted(values["exponents"], reverse=True)
