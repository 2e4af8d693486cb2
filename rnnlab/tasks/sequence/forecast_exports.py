"""The program of a forecasting model to export: its outputs for standardised look-backs."""

import pathlib

import jax.numpy as jnp
import numpy as np
from jax import Array, export

from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.exports import Exports, Program, array
from rnnlab.tasks.sequence.forecast import ForecastTask
from rnnlab.training.step import split_model

_USAGE = """\
`python run.py < series.jsonl` reads a series in JSON from each line, a list of at least {look_back} steps, each a list
of {channels} numbers (`null` if missing), and writes the {horizon} steps after it in JSON, in the units of the data.
The numbers of a step are:

{columns}

The program reads standardised numbers (`runner.json` has the statistics), and so are its `outputs`."""


def make_exports(task: ForecastTask) -> Exports:
    """Makes the exports of a task."""
    data, channels = task.config.data, task.known.channels
    columns = [column for channel in channels for column in task.output.columns(channel)]
    numbers = len(columns) // len(channels)
    scaler = task.known.standard.scaler
    shift, one = (task.output.in_units(np.full((len(channels), numbers), x), scaler) for x in (0.0, 1.0))
    order = task.output.cells(np.arange(len(columns)).reshape(len(channels), numbers))
    settings = {
        "batch_size": task.config.evaluation.batch_size,
        "look_back": data.look_back,
        "fill": task.known.standard.learnt.mean.tolist(),
        "mean": scaler.mean.tolist(),
        "deviation": scaler.deviation.tolist(),
        "shift": shift.tolist(),
        "scale": (one - shift).tolist(),
        "order": order.tolist(),  # of the numbers of a step
        "columns": columns,
    }
    usage = {"look_back": data.look_back, "horizon": data.horizon, "channels": len(channels)}
    return Exports(
        programs={"forward": _forward(task)},
        runner=pathlib.Path(__file__).with_name("forecast_runner.py"),
        files={"runner.json": settings},
        usage=_USAGE.format(**usage, columns=", ".join(f"`{column}`" for column in columns)),
        digests=task.known.digests,
    )


def _forward(task: ForecastTask) -> Program:
    merge, _ = split_model(task.sketch)
    (batch,) = export.symbolic_shape("batch")
    inputs = array(jnp.float32, task.config.data.look_back, batch, len(task.known.channels))

    def forward(params: ModelParams, inputs: Array) -> dict[str, Array]:
        return {"outputs": merge(params)(inputs)}

    return Program(forward, {"inputs": inputs}, "The numbers of each step and channel after a look-back.")
