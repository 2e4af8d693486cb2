"""The forecaster beside SegRNN written out in NumPy, and what each option promises."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close, draw_module, sigmoid

from rnnlab.models.forecaster import Forecaster

LOOK_BACK, HORIZON, BATCH, CHANNELS = 12, 10, 3, 2
INPUTS = 5 + 2 * jax.random.normal(jax.random.key(0), (LOOK_BACK, BATCH, CHANNELS))


def _model(**options) -> Forecaster:
    options = {"cell": "gru", "features": 6, "segment": 4, **options}
    return draw_module(lambda: Forecaster(CHANNELS, LOOK_BACK, HORIZON, rngs=nnx.Rngs(0), **options))


def _gru(params: dict, h: np.ndarray, x: np.ndarray) -> np.ndarray:
    a, r = np.split(x @ params["W"] + params["b"], 3), np.split(h @ params["R"], 3)
    reset, update = sigmoid(a[0] + r[0]), sigmoid(a[1] + r[1])
    candidate = np.tanh(a[2] + reset * (r[2] + params["b_n"]))
    return (1 - update) * candidate + update * h


def _segrnn(model: Forecaster, series: np.ndarray, channel: int) -> np.ndarray:
    """Of one channel of one window, as in Lin et al. 2023, section 3."""
    params = {name: np.asarray(value[...], np.float64) for name, value in model.stack.layers[0][0].params.items()}
    embed, read = (
        {k: np.asarray(v[...]) for k, v in nnx.to_pure_dict(nnx.state(m)).items()} for m in (model.embed, model.read)
    )
    last, h = series[-1], np.zeros(6)
    for start in range(0, LOOK_BACK, 4):
        segment = series[start : start + 4] - last
        h = _gru(params, h, np.maximum(segment @ embed["kernel"] + embed["bias"], 0))
    found = []
    for position in np.asarray(model.positions[...]):
        after = _gru(params, h, np.concatenate([position, np.asarray(model.channels[channel])]))
        found.append(after @ read["kernel"] + read["bias"] + last)
    return np.concatenate(found)[:HORIZON]


def test_segments_are_read_and_predicted_as_segrnn_does():
    model = _model()
    found = model(INPUTS)
    assert found.shape == (HORIZON, BATCH, CHANNELS, 1)
    for window, channel in itertools.product(range(BATCH), range(CHANNELS)):
        expected = _segrnn(model, np.asarray(INPUTS[:, window, channel], np.float64), channel)
        assert_close(found[:, window, channel, 0], expected)


def test_the_first_segments_alone_are_those_of_the_whole_forecast():
    model = _model()
    assert_close(model(INPUTS, segments=1), model(INPUTS)[:4])


@pytest.mark.parametrize("decoding", ["segments", "direct"])
@pytest.mark.parametrize("joint", [True, False])
def test_a_channel_depends_on_the_others_only_if_they_are_read_jointly(joint, decoding):
    model = _model(joint=joint, decoding=decoding)
    changed = model(INPUTS.at[3, :, 1].add(1.0)) - model(INPUTS)
    assert changed.shape == (HORIZON, BATCH, CHANNELS, 1)
    assert np.abs(changed[:, :, 1]).min() > 0
    assert (np.abs(changed[:, :, 0]).max() > 0) == joint


@pytest.mark.parametrize(
    "options", [{"joint": True}, {"decoding": "direct"}, {"layers": 2, "cell": "lstm"}, {"segment": 1}]
)
def test_a_window_does_not_depend_on_its_neighbours(options):
    model = _model(**options)
    assert_close(model(INPUTS)[:, 1:2], model(INPUTS[:, 1:2]))


@pytest.mark.parametrize("output", ["values", "normal", "student"])
@pytest.mark.parametrize(("normalisation", "factor"), [("last", 1.0), ("instance", 3.0)])
def test_a_shift_or_scale_of_a_window_that_normalisation_takes_is_that_of_the_forecast(normalisation, factor, output):
    model = _model(normalisation=normalisation, output=output, values=3)
    moved = model(factor * INPUTS + 100)
    found = model(INPUTS)
    places = slice(None) if output == "values" else slice(0, 1)
    assert_close(moved[..., places], factor * found[..., places] + 100, 1e-3)
    if output != "values":
        assert_close(moved[..., 1], factor * found[..., 1], 1e-3)
        assert_close(moved[..., 2:], found[..., 2:], 1e-3)


def test_instance_normalisation_reads_windows_of_mean_0_and_deviation_1_and_is_undone_with_its_scale_and_shift():
    model = _model(normalisation="instance")
    model.scale.set_value(jnp.array([2.0, -0.5]))
    model.shift.set_value(jnp.array([0.3, 1.0]))
    normal, level = model._normalise(INPUTS)
    assert_close(normal.mean(0), jnp.broadcast_to(model.shift[...], (BATCH, CHANNELS)), 1e-4)
    assert_close(normal.std(0), jnp.broadcast_to(jnp.abs(model.scale[...]), (BATCH, CHANNELS)), 1e-4)
    assert_close(model._restore(normal[..., None], level)[..., 0], INPUTS, 1e-4)


def test_quantiles_never_cross_and_distributions_have_positive_scales_and_a_variance():
    quantiles = _model(values=5)(INPUTS)
    assert quantiles.shape[-1] == 5
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert _model(output="normal")(INPUTS)[..., 1].min() > 0
    student = _model(output="student")(INPUTS)
    assert student[..., 1].min() > 0
    assert student[..., 2].min() > 2


def test_channels_are_told_apart_by_their_embeddings_alone():
    same = jnp.repeat(INPUTS[..., :1], CHANNELS, axis=-1)
    told, blind = (_model(channel_embedding=embedded)(same) for embedded in (True, False))
    assert_close(blind[..., 0, :], blind[..., 1, :])
    assert np.abs(told[..., 0, :] - told[..., 1, :]).min() > 1e-4


def test_dropout_is_drawn_in_training_only():
    model = _model(output_dropout=0.5, layers=2, dropout=0.3)
    assert_close(model(INPUTS), model(INPUTS))
    drawn = [model(INPUTS, rngs=nnx.Rngs(dropout=seed)) for seed in (0, 1)]
    assert np.abs(drawn[0] - drawn[1]).max() > 0.01


@pytest.mark.parametrize(
    ("options", "told"),
    [({"segment": 5}, "5 does not divide"), ({"decoding": "x"}, "decoding"), ({"normalisation": "x"}, "normalisation")],
)
def test_options_that_do_not_fit_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        _model(**options)
