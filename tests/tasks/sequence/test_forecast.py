"""Forecasting from files to scores, against windows, errors and baselines written out in NumPy."""

import csv
import functools
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from configs import etth1, forecast
from rnnlab.errors import UserError
from rnnlab.run import load
from rnnlab.tasks.sequence.config import default_config
from rnnlab.tasks.sequence.forecast import ForecastTask, _period, _segment
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.loop import Training, train
from rnnlab.training.programs import Programs
from rnnlab.training.step import split_model
from rnnlab.training.workdir import create_task, open_task
from tests import nightly
from tests.runs import predict

LOOK_BACK, HORIZON, PERIOD = 12, 7, 6
STEPS = np.arange(120)
SERIES = np.stack(
    [10 + 3 * np.sin(2 * np.pi * STEPS / PERIOD), 0.1 * STEPS + np.cos(2 * np.pi * STEPS / PERIOD)], axis=1
)
SERIES += 0.05 * np.random.default_rng(0).normal(size=SERIES.shape)


def _write(path, series=SERIES, names=("load", "heat")):
    rows = [
        ",".join(("date", *names)),
        *(f"day {i}," + ",".join(map(str, row)) for i, row in enumerate(series.tolist())),
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


def _config(folder, **fields):
    """Of a small forecaster of a file `series.csv`, made if it is not there, of 70 + 25 + 20 rows."""
    if not (folder / "series.csv").exists():
        _write(folder / "series.csv")
    config = default_config()
    config.data.update({"name": "csv", "directory": str(folder), "answer": "forecast", "rows": "70,25,20"})
    config.data.files.train = "series.csv"
    config.data.update({"look_back": LOOK_BACK, "horizon": HORIZON, "period": PERIOD})
    config.model.update({"cell": "gru", "features": 16})
    config.model.forecast.segment = 3
    config.training.update({"steps": 20, "batch_size": 16, "log_every": 10, "evaluate_every": 10, "measure_every": 0})
    config.evaluation.batch_size = 8
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With the file of `_config`."""
    return tmp_path_factory.mktemp("series")


@pytest.fixture(scope="module")
def trained(folder):
    """A run that has learnt to forecast."""
    config = _config(folder, training__steps=300, training__evaluate_every=100, training__learning_rate=1e-2)
    train(config, folder / "trained")
    return folder / "trained"


def _standardised(rows=70):
    mean, deviation = SERIES[:rows].mean(0), SERIES[:rows].std(0)
    return (SERIES - mean) / deviation


def _windows(first, end):
    """What all windows that predict rows from `first` to before `end` read, and what they predict."""
    series = _standardised()
    starts = [start for start in range(LOOK_BACK, len(series)) if first <= start and start + HORIZON <= end]
    return (
        np.stack([series[start - LOOK_BACK : start] for start in starts], axis=1),
        np.stack([series[start : start + HORIZON] for start in starts], axis=1),
    )


def _scores_and_outputs(config, workdir, split, first, end):
    task = create_task(config, workdir)
    model = task.make_model()
    inputs, targets = _windows(first, end)
    scores = task.evaluator(final=True)(split_model(model)[1], split)
    assert scores["windows"] == targets.shape[1]
    return scores, np.asarray(model(jnp.asarray(inputs)), np.float64), inputs, targets


def test_scores_are_means_over_every_window_of_a_split_in_standard_units_beside_the_seasonal_naive_forecast(
    folder, tmp_path
):
    for split, first, end in (("train", 0, 70), ("validation", 70, 95), ("test", 95, 115)):
        scores, outputs, inputs, targets = _scores_and_outputs(_config(folder), tmp_path / "w", split, first, end)
        errors = outputs[..., 0] - targets
        naive = np.stack([inputs[-PERIOD + step % PERIOD] for step in range(HORIZON)]) - targets
        expected = {"mse": (errors**2).mean(), "mae": np.abs(errors).mean(), "loss": (errors**2).mean()}
        expected |= {"naive_mse": (naive**2).mean(), "naive_mae": np.abs(naive).mean()}
        assert {name: scores[name] for name in expected} == pytest.approx(expected, rel=1e-4)


def test_training_may_minimise_the_absolute_error(folder, tmp_path):
    scores, outputs, _, targets = _scores_and_outputs(
        _config(folder, training__loss="absolute"), tmp_path / "w", "test", 95, 115
    )
    assert scores["loss"] == pytest.approx(np.abs(outputs[..., 0] - targets).mean(), rel=1e-4)


def test_quantiles_are_scored_by_the_pinball_loss_the_median_and_the_share_that_they_cover(folder, tmp_path):
    config = _config(folder, model__forecast__quantiles="0.2,0.5,0.9")
    scores, outputs, _, targets = _scores_and_outputs(config, tmp_path / "w", "test", 95, 115)
    pinball = 0.0
    for quantile, output in zip((0.2, 0.5, 0.9), np.moveaxis(outputs, -1, 0), strict=True):
        below = targets > output
        pinball += np.abs(targets - output)[below].sum() * quantile + np.abs(targets - output)[~below].sum() * (
            1 - quantile
        )
    assert scores["quantile_loss"] == scores["loss"] == pytest.approx(pinball / 3 / targets.size, rel=1e-4)
    assert scores["mse"] == pytest.approx(((outputs[..., 1] - targets) ** 2).mean(), rel=1e-4)
    covered = (outputs[..., 0] <= targets) & (targets <= outputs[..., 2])
    assert 0 < scores["coverage"] < 100
    assert scores["coverage"] == pytest.approx(100 * covered.mean(), rel=1e-4)


@pytest.mark.parametrize("distribution", ["normal", "student"])
def test_distributions_are_scored_by_their_log_likelihood_and_mean(folder, tmp_path, distribution):
    config = _config(folder, model__forecast__distribution=distribution)
    scores, outputs, _, targets = _scores_and_outputs(config, tmp_path / "w", "test", 95, 115)
    mean, scale, *freedom = np.moveaxis(outputs, -1, 0)
    law = scipy.stats.t(*freedom, mean, scale) if freedom else scipy.stats.norm(mean, scale)
    assert scores["nll"] == scores["loss"] == pytest.approx(-law.logpdf(targets).mean(), rel=1e-4)
    assert scores["mae"] == pytest.approx(np.abs(mean - targets).mean(), rel=1e-4)


@pytest.mark.nightly
def test_a_trained_run_beats_the_naive_forecast_and_continues_a_series_in_its_own_units(trained):
    scores = json.loads((trained / "result.json").read_text())
    assert scores["mse"] < scores["naive_mse"]
    run = load(trained)
    text = "date,load,heat\n" + "\n".join(f"{i},{a},{b}" for i, (a, b) in enumerate(SERIES[:113].tolist()))
    predict(run.task, io.BytesIO(text.encode()), answers := io.BytesIO())
    header, *rows = csv.reader(answers.getvalue().decode().splitlines())
    assert header == ["step", "load", "heat"]
    assert [int(row[0]) for row in rows] == list(range(1, HORIZON + 1))
    np.testing.assert_allclose(np.array(rows, float)[:, 1:], SERIES[113:120], atol=0.8)


def test_a_finished_run_has_a_picture_and_errors_by_step_and_by_channel(trained):
    scores = json.loads((trained / "result.json").read_text())
    for name, number, of in (("errors_by_step.csv", HORIZON, "step"), ("errors_by_channel.csv", 2, "channel")):
        rows = list(csv.DictReader((trained / name).open()))
        assert len(rows) == number
        for score in ("mse", "mae", "naive_mse", "naive_mae"):
            assert np.mean([float(row[score]) for row in rows]) == pytest.approx(scores[score], rel=1e-6)
        assert rows[0][of] == {"step": "1", "channel": "load"}[of]
    assert (trained / "forecasts.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.nightly
def test_a_run_that_was_stopped_resumes_as_if_it_never_was(folder, tmp_path):
    fields = {"model__output_dropout": 0.3, "training__steps_per_call": 2, "training__schedule": "constant"}
    config = _config(folder, **fields)
    train(config, tmp_path / "whole")
    train(_config(folder, **fields, training__steps=10), tmp_path / "stopped")
    train(config, tmp_path / "stopped")
    found = []
    for name in ("whole", "stopped"):
        task = create_task(config, tmp_path / name)
        with Training(task, Programs(task)) as run:
            found.append(Checkpoints(tmp_path / name / "checkpoints", reading=True).restore(run.state).arrays)
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_files_of_their_own_are_splits_and_without_one_of_validation_the_end_of_training_is(tmp_path):
    for name, rows in (("series.csv", SERIES[:80]), ("test.csv", SERIES[80:])):
        _write(tmp_path / name, rows)
    config = _config(tmp_path, data__files__test="test.csv", data__validation_share=0.25)
    task = create_task(config, tmp_path / "w")
    counts = {split: len(task.windows(split)) for split in task.splits}
    assert counts == {
        "train": 60 - LOOK_BACK - HORIZON + 1,
        "validation": 20 - HORIZON + 1,
        "test": 40 - LOOK_BACK - HORIZON + 1,
    }
    mean = SERIES[:60].mean(0)
    np.testing.assert_allclose(task.known.standard.learnt.mean, mean, rtol=1e-5)


def test_several_series_are_divided_each_and_predicted_by_their_numbers(tmp_path):
    rows = [f"{name},{a},{b}" for name in "ab" for a, b in SERIES[: 60 if name == "a" else 30].tolist()]
    (tmp_path / "series.csv").write_text("\n".join(["which,load,heat", *rows]))
    config = _config(tmp_path, data__columns__sequence="which", data__rows="0.5,0.3,0.2")
    task = create_task(config, tmp_path / "w")
    assert task.windows("train").counts == [30 - LOOK_BACK - HORIZON + 1, 0]
    assert task.windows("test").counts == [12 - HORIZON + 1, 0]
    predictor = task.predictor(split_model(task.make_model())[1])
    header, *answers = predictor(["\n".join(["which,load,heat", *rows]).encode()], 0)
    assert header == "series,step,load,heat"
    assert [tuple(map(int, line.split(",")[:2])) for line in answers] == [
        (i, s) for i in (1, 2) for s in range(1, HORIZON + 1)
    ]


def test_quantiles_are_columns_of_a_prediction(folder, tmp_path):
    task = create_task(_config(folder, model__forecast__quantiles="0.1 0.5 0.9"), tmp_path / "w")
    predictor = task.predictor(split_model(task.make_model())[1])
    content = (folder / "series.csv").read_bytes()
    header, *rows = csv.reader(predictor([content], 0))
    assert header == ["step", "load", "load_0.1", "load_0.9", "heat", "heat_0.1", "heat_0.9"]
    values = np.array(rows, float)
    assert (values[:, 2] <= values[:, 1]).all()
    assert (values[:, 1] <= values[:, 3]).all()
    model = task.make_model()
    outputs = np.asarray(model(jnp.asarray(_standardised()[-LOOK_BACK:, None])))[:, 0, 1, 0]
    np.testing.assert_allclose(values[:, 5], outputs * SERIES[:70, 1].std() + SERIES[:70, 1].mean(), rtol=1e-4)


def test_noise_on_what_is_read_is_of_training_alone(folder, tmp_path):
    losses = {}
    for noise in (0.0, 0.5):
        task = create_task(_config(folder, training__input_noise=noise), tmp_path / str(noise))
        batch = jax.device_put(task.probe("train"))
        for rngs in (None, nnx.Rngs(dropout=0)):
            found = task.loss(task.make_model(), batch, (), rngs=rngs, step=jnp.int32(0))
            losses[noise, rngs is None] = float(found.total)
    assert losses[0.0, False] == losses[0.0, True] == losses[0.5, True]
    assert losses[0.5, False] != losses[0.5, True]


def test_flow_is_measured_through_the_look_back_and_the_first_segment(folder, tmp_path):
    task = create_task(_config(folder), tmp_path / "w")
    programs = Programs(task)
    assert programs.flow is None
    measured = create_task(_config(folder, training__measure_every=10), tmp_path / "m")
    (flow,) = Programs(measured).flow.measure(split_model(measured.make_model())[1]).values()
    assert len(flow.vectors["input_gradient"]) == LOOK_BACK // 3 + 1
    assert np.abs(flow.vectors["input_gradient"]).min() > 0


@pytest.mark.parametrize(
    ("look_back", "segment", "period"), [(96, 24, 24), (36, 18, 24), (20, 20, 1), (23, 23, 1), (29, 1, 24)]
)
def test_segments_and_the_season_follow_from_the_look_back_where_they_are_not_given(look_back, segment, period):
    config = default_config()
    config.data.update({"answer": "forecast", "look_back": look_back})
    assert (_segment(config), _period(config)) == (segment, period)
    ForecastTask.check(config)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"data__horizon": 60}, r"data.horizon: a look-back of 12 and a horizon of 60 need 72 rows; .* has 70"),
        ({"data__look_back": 90}, r"need 97 rows; the longest series of the train split .* has 70"),
        ({"data__rows": "100,20,20"}, r"config.data.rows: '100,20,20' of .*: 140 rows are more than the 120"),
        ({"data__permuted": 1}, r"config.data.permuted: 1 has no effect with .* answer='forecast'; omit it"),
        ({"data__period": 13}, r"config.data.period: 13 is not allowed; .* config.data.look_back=12"),
        ({"model__forecast__segment": 5}, r"config.model: segment: 5 does not divide the look-back of 12"),
        ({"model__forecast__quantiles": "0.9,0.1"}, r"config.model.forecast.quantiles: '0.9,0.1' is not allowed"),
        ({"model__forecast__quantiles": "0.1,0.9"}, r"0.5 \(which is scored\) among them"),
        (
            {"model__forecast__distribution": "cauchy"},
            r"'cauchy' is not allowed; it must be one of none, normal, student",
        ),
        ({"model__forecast__distribution": "normal", "model__forecast__quantiles": "0.5"}, "not allowed with"),
        (
            {"training__best_metric": "accuracy"},
            r"'accuracy' is not a score of config.data.answer='forecast'; allowed: loss, mse, mae",
        ),
        ({"model__bidirectional": True}, r"config.model: bidirectional: decoding 'segments' .* use direct"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, tmp_path, fields, told):
    with pytest.raises(UserError, match=told):
        create_task(_config(folder, **fields), tmp_path / "w")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("date,load,heat\nx,1,2\n", r"standard input, line 2: 1 steps; the model reads the last 12"),
        ("date,load\n" + 20 * "x,1\n", r"standard input, line 1: .* 'heat', which is not among the columns date, load"),
        ("date,load,heat\n" + 20 * "x,1,\n", r"standard input, line 2, column 'heat': a value is missing"),
    ],
)
def test_a_file_to_continue_that_does_not_fit_is_refused_in_one_line(folder, tmp_path, content, told):
    task = create_task(_config(folder), tmp_path / "w")
    with pytest.raises(UserError, match=told):
        task.predictor(split_model(task.make_model())[1])([content.encode()], 0)


def test_series_that_changed_since_training_are_refused(tmp_path):
    create_task(_config(tmp_path), tmp_path / "w")
    _write(tmp_path / "series.csv", SERIES + 1)
    assert not ForecastTask.has_data_of(_config(tmp_path), tmp_path / "w")
    with pytest.raises(UserError, match="the train series have changed since"):
        create_task(_config(tmp_path), tmp_path / "w")


@pytest.mark.parametrize(
    "fields",
    [
        *nightly.only(
            {"model__cell": "lstm", "model__layers": 2, "model__block": "residual"},
            {"model__forecast__segment": 1, "model__cell": "min_gru"},
        ),
        {"model__cell": "s5", "model__block": "prenorm", "model__layers": 2, "model__forecast__joint": True},
        {
            "model__forecast__decoding": "direct",
            "model__bidirectional": True,
            "model__forecast__normalisation": "instance",
        },
    ],
)
def test_every_cell_block_and_decoding_can_be_trained_and_depends_on_its_parameters_alone(folder, tmp_path, fields):
    task = create_task(_config(folder, **fields), tmp_path / "w")
    merge, params = split_model(task.make_model())
    batch = jax.device_put(next(task.batches(seed=0, process=0, processes=1)))

    def loss(params):
        found = task.loss(merge(params), batch, (), rngs=nnx.Rngs(dropout=0), step=jnp.int32(0))
        return found.total / found.weight

    gradients = jax.jit(jax.grad(loss))(params)
    assert all(np.isfinite(each).all() for each in gradients.values())
    unused = [name for name, each in gradients.items() if not np.abs(each).max() > 0]
    assert not unused


@pytest.mark.parametrize(
    "make", [forecast.get_config, *(functools.partial(etth1.get_config, h) for h in ("96", "720"))]
)
def test_the_shipped_configs_are_allowed(make):
    config = make()
    ForecastTask.check(config)
    assert config.data.answer == "forecast"


def test_the_series_that_is_made_on_the_fly_needs_no_file(tmp_path):
    task = create_task(forecast.get_config(), tmp_path / "w")
    assert task.splits == ("train", "validation", "test")
    assert len(task.windows("test")) == 1000 - 48 + 1


def test_a_work_directory_is_opened_without_its_data(trained, tmp_path):
    task = open_task(trained)
    assert task.known.channels == ("load", "heat")
    assert task.splits == ("train", "validation", "test")


@pytest.mark.parametrize("turned", ["test.csv", "validation.csv"])
def test_channels_of_other_files_are_matched_by_name(tmp_path, turned):
    for name in ("series.csv", "test.csv", "validation.csv"):
        _write(tmp_path / name)
    files = {f"data__files__{split}": f"{split}.csv" for split in ("test", "validation")}
    straight = create_task(_config(tmp_path, **files), tmp_path / "w")
    _write(tmp_path / turned, SERIES[:, ::-1], ("heat", "load"))
    task = create_task(_config(tmp_path, **files), tmp_path / "turned")
    for split in task.splits:
        windows, same = task.windows(split), straight.windows(split)
        for mine, theirs in zip(
            windows.assemble([0, 5], windows.size, 2), same.assemble([0, 5], same.size, 2), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("series", "names", "told"),
    [
        (SERIES, ("load", "cold"), r"test.csv, line 2: other channels than in train: without heat, with cold"),
        (SERIES[:, :1], ("load",), r"test.csv, line 2: other channels than in train: without heat"),
        (SERIES[:, [0, 1, 1]], ("load", "heat", "b"), r"test.csv, line 2: other channels than in train: with b"),
    ],
)
def test_other_channels_than_those_of_training_are_refused(tmp_path, series, names, told):
    _write(tmp_path / "test.csv", series, names)
    with pytest.raises(UserError, match=told):
        create_task(_config(tmp_path, data__files__test="test.csv"), tmp_path / "w")


def test_a_channel_whose_name_has_a_comma_can_be_continued(tmp_path):
    _write(tmp_path / "series.csv", names=('"load, MW"', "heat"))
    train(_config(tmp_path, training__steps=2), tmp_path / "w")
    predict(load(tmp_path / "w").task, io.BytesIO((tmp_path / "series.csv").read_bytes()), answers := io.BytesIO())
    header, *_ = csv.reader(answers.getvalue().decode().splitlines())
    assert header == ["step", "load, MW", "heat"]


def test_a_channel_without_a_value_in_the_training_rows_is_refused(tmp_path):
    rows = [f"{i},{'' if i < 80 else i}" for i in range(120)]
    (tmp_path / "series.csv").write_text("\n".join(["load,heat", *rows]) + "\n")
    with pytest.raises(UserError, match=r"series.csv, line 2: channel heat has no value in the training rows"):
        create_task(_config(tmp_path, data__missing="fill"), tmp_path / "w")


def test_steps_of_unequal_length_are_told(tmp_path, caplog):
    rows = [f"2020-01-01 {i // 60:02}:{i % 60:02}:{30 * (i == 50):02},{value}" for i, value in enumerate(SERIES[:, 0])]
    (tmp_path / "series.csv").write_text("\n".join(["date,load", *rows]) + "\n")
    task = create_task(_config(tmp_path, data__columns__time="date"), tmp_path / "w")
    assert (
        "2 of 119 steps are longer or shorter than the usual 60; windows treat all steps as evenly spaced"
        in (task.series.remarks[0])
    )


def test_channels_without_names_are_counted(tmp_path):
    for name, channels in (("train.npz", 2), ("test.npz", 1)):
        np.savez(tmp_path / name, x=np.random.default_rng(0).normal(size=(1, 60, channels)))
    files = {"data__name": "npz", "data__files__train": "train.npz", "data__files__test": "test.npz"}
    with pytest.raises(UserError, match=r"test.npz, x\[0\]: 1 channel, but train has 2"):
        create_task(_config(tmp_path, **files), tmp_path / "w")


def _with_gaps(path):
    """Writes the series with missing values in every split: scattered ones, one channel's start, and whole rows."""
    series = SERIES.astype(np.float32).astype(np.float64)
    series[np.random.default_rng(1).random(series.shape) < 0.1] = np.nan
    series[:3, 0] = series[100:108] = np.nan
    rows = [
        ",".join(["load", "heat"]),
        *(",".join("" if np.isnan(x) else repr(x) for x in row) for row in series.tolist()),
    ]
    path.write_text("\n".join(rows) + "\n")
    return series


@pytest.mark.parametrize(
    "fields", [{}, *nightly.only({"data__standardise": False}), {"model__forecast__quantiles": "0.1,0.5,0.9"}]
)
def test_filled_values_are_read_but_neither_scored_nor_learnt(tmp_path, fields):
    series = _with_gaps(tmp_path / "series.csv")
    task = create_task(_config(tmp_path, data__missing="fill", **fields), tmp_path / "w")
    mean, deviation = np.nanmean(series[:70], 0), np.nanstd(series[:70], 0)
    filled = series.copy()
    for row, channel in np.argwhere(np.isnan(series)):
        filled[row, channel] = filled[row - 1, channel] if row else mean[channel]
    if task.config.data.standardise:
        series, filled = ((each - mean) / deviation for each in (series, filled))
    model = task.make_model()
    for split, first, end in (("train", 0, 70), ("validation", 70, 95), ("test", 95, 115)):
        starts = range(max(first, LOOK_BACK), end - HORIZON + 1)
        starts = [start for start in starts if not np.isnan(series[start : start + HORIZON]).all()]
        inputs = np.stack([filled[start - LOOK_BACK : start] for start in starts], axis=1)
        targets = np.stack([series[start : start + HORIZON] for start in starts], axis=1)
        scores = task.evaluator(final=True)(split_model(model)[1], split)
        outputs = np.asarray(model(jnp.asarray(inputs, jnp.float32)), np.float64)
        errors = task.output.forecast(outputs) - targets
        naive = np.stack([inputs[-PERIOD + step % PERIOD] for step in range(HORIZON)]) - targets
        assert scores["windows"] == len(starts)
        assert scores["mse"] == pytest.approx(np.nanmean(errors**2), rel=1e-4)
        assert scores["naive_mae"] == pytest.approx(np.nanmean(np.abs(naive)), rel=1e-4)
        if task.output.quantiles:
            inside = (outputs[..., 0] <= targets) & (targets <= outputs[..., -1])
            assert scores["coverage"] == pytest.approx(100 * inside[~np.isnan(targets)].mean(), rel=1e-4)
            continue
        windows = task.windows(split)
        batch = windows.assemble(range(len(windows)), windows.size, len(windows) + 3)
        found = task.loss(model, jax.device_put(batch), (), rngs=None, step=jnp.int32(0))
        assert float(found.weight) == (~np.isnan(targets)).sum()
        assert float(found.total) == pytest.approx(np.nansum(errors**2), rel=1e-4)


@pytest.mark.nightly
def test_a_series_with_gaps_is_trained_and_reported(tmp_path):
    _with_gaps(tmp_path / "series.csv")
    train(_config(tmp_path, data__missing="fill", training__measure_every=10), tmp_path / "w")
    scores = json.loads((tmp_path / "w" / "result.json").read_text())
    rows = list(csv.DictReader((tmp_path / "w" / "errors_by_channel.csv").read_text().splitlines()))
    assert np.isfinite([float(row["mse"]) for row in rows]).all()
    assert np.isfinite([scores[name] for name in ("loss", "mse", "naive_mse")]).all()
    assert "nan" not in (tmp_path / "w" / "metrics.csv").read_text()
    assert (tmp_path / "w" / "forecasts.png").exists()


def test_a_split_without_a_value_to_predict_is_refused(tmp_path):
    series = SERIES.copy()
    series[95:115] = np.nan
    _write(tmp_path / "series.csv", series)
    with pytest.raises(UserError, match=r"series.csv, line 2: all values that the test split predicts are missing"):
        create_task(_config(tmp_path, data__missing="fill"), tmp_path / "w")


def test_without_standardising_a_gap_at_the_start_has_the_mean_of_training_in_the_data_s_units(tmp_path):
    series = _with_gaps(tmp_path / "series.csv")
    create_task(_config(tmp_path, data__missing="fill", data__standardise=False), tmp_path / "w")
    task = open_task(tmp_path / "w")
    gap = np.full((LOOK_BACK, 2), np.nan, np.float32)
    np.testing.assert_allclose(task.known.standard.apply(gap)[0], np.nanmean(series[:70], 0), rtol=1e-5)
