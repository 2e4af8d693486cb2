"""The report of a finished run's forecasts: errors by step and by channel, and a picture with the true values."""

import numpy as np

from rnnlab.files import write_text
from rnnlab.pictures import drawable, picture, survived
from rnnlab.printing import show, to_csv
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.sequence.forecast import ForecastTask
from rnnlab.tasks.sequence.forecast_evaluation import ERRORS, Evaluator, seasonal_naive
from rnnlab.tasks.shown import Shown

_DRAWN_WINDOWS, _DRAWN_CHANNELS = 3, 4
_SHOWN = 2  # maximum length of the drawn look-back, in horizons


def show_forecasts(task: ForecastTask, params: ModelParams) -> Shown:
    """Writes `errors_by_step.csv`, `errors_by_channel.csv` and `forecasts.png`, of the test split if there is one.

    Prints where they are.
    """
    split, evaluator = task.final_split, Evaluator(task)
    errors = evaluator.errors(params, split)
    by_step = [(step, *each) for step, each in enumerate(errors.by_step.T.tolist(), start=1)]
    by_channel = [(name, *each) for name, each in zip(task.known.channels, errors.by_channel.T.tolist(), strict=True)]
    write_text(task.workdir / "errors_by_step.csv", to_csv([("step", *ERRORS), *by_step]))
    write_text(task.workdir / "errors_by_channel.csv", to_csv([("channel", *ERRORS), *by_channel]))
    path = task.workdir / "forecasts.png"
    with survived(path):
        _draw(task, params, split, evaluator)
    show(f"{task.workdir}: forecasts.png, errors_by_step.csv and errors_by_channel.csv of the {split} split")
    return Shown(pictures={path.name: f"forecasts of {split}"})


def _draw(task: ForecastTask, params: ModelParams, split: str, evaluator: Evaluator) -> None:
    """Draws evenly spaced windows side by side, a row for each of the first channels, in the units of the data."""
    windows, output, scaler = task.windows(split), task.output, task.known.standard.scaler
    rows = np.unique(np.linspace(0, len(windows) - 1, _DRAWN_WINDOWS).astype(int)).tolist()
    batch = windows.assemble(rows, windows.size, len(rows))
    outputs = output.in_units(evaluator.predict(params, batch.inputs), scaler)
    forecast = output.forecast(outputs)
    naive = scaler.inverse(seasonal_naive(batch.inputs, windows.horizon, task.period))
    seen = min(windows.look_back, _SHOWN * windows.horizon)
    truth = scaler.inverse(np.concatenate([batch.inputs[-seen:], batch.targets]))
    channels = task.known.channels[:_DRAWN_CHANNELS]
    steps = np.arange(1, windows.horizon + 1)
    names = [drawable(name) for name in channels]
    with picture(task.workdir / "forecasts.png", 5 * len(rows), 2.4 * len(channels)) as figure:
        axes = figure.subplots(len(channels), len(rows), squeeze=False, sharex=True)
        for (channel, column), axis in np.ndenumerate(axes):
            axis.plot(
                np.arange(1 - seen, windows.horizon + 1),
                truth[:, column, channel],
                color="black",
                lw=0.8,
                label="truth",
            )
            axis.plot(steps, naive[:, column, channel], color="gray", lw=0.8, ls=":", label="seasonal naive")
            axis.plot(steps, forecast[:, column, channel], color="tab:orange", lw=1.2, label="forecast")
            for low, high, label in _bands(output, outputs[:, column, channel]):
                axis.fill_between(steps, low, high, color="tab:orange", alpha=0.25, lw=0, label=label)
            series, row = windows.place(rows[column])
            if channel == 0:
                axis.set_title(f"series {series + 1}, from row {row + 1:,}", fontsize=9)
            axis.axvline(0.5, color="gray", lw=0.5)
        for axis, name in zip(axes[:, 0], names, strict=True):
            axis.set_ylabel(name)
        for axis in axes[-1]:
            axis.set_xlabel("step")
        axes[-1, 0].legend(loc="upper left", bbox_to_anchor=(0, -0.25), ncols=4, fontsize=8)  # where it hides no curve


def _bands(output, outputs: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Returns pairs of lines around a forecast, of outputs `[horizon, numbers]`, and the label of the band."""
    quantiles = output.quantiles
    if quantiles:
        pairs = [(i, len(quantiles) - 1 - i) for i in range(len(quantiles) // 2)]
        return [(outputs[:, i], outputs[:, j], f"{quantiles[i]:g} to {quantiles[j]:g}") for i, j in pairs]
    if output.kind == "values":
        return []
    mean, scale = outputs[:, 0], outputs[:, 1]
    return [(mean - scale, mean + scale, "one scale")]
