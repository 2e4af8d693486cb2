"""The scores of a run's tasks, with the best possible ones without memory and published ones."""

from typing import NamedTuple

from rnnlab.data.lag_problems import LAG_PROBLEMS
from rnnlab.flow_lab import intervals
from rnnlab.flow_lab.table import Table

HEAD = ("task", "T", "model", "parameters", "loss", "accuracy", "floor of the loss")


class _Published(NamedTuple):
    task: str
    lag: int
    cell: str
    parameters: str
    loss: str
    accuracy: str


# Bai, Kolter and Koltun 2018, arXiv 1803.01271, table 1, without permuted MNIST
_BAI = "Bai et al. 2018: "
_PUBLISHED = (
    _Published("adding", 600, "lstm", "70 K", "0.164", ""),
    _Published("adding", 600, "gru", "70 K", "5.3e-5", ""),
    _Published("adding", 600, "rnn", "70 K", "0.177", ""),
    _Published("adding", 600, "TCN", "70 K", "5.8e-5", ""),
    _Published("copy_memory", 1000, "lstm", "16 K", "0.0204", ""),
    _Published("copy_memory", 1000, "gru", "16 K", "0.0197", ""),
    _Published("copy_memory", 1000, "rnn", "16 K", "0.0202", ""),
    _Published("copy_memory", 1000, "TCN", "16 K", "3.5e-5", ""),
    _Published("mnist", 784, "lstm", "70 K", "", "87.2 %"),
    _Published("mnist", 784, "gru", "70 K", "", "96.2 %"),
    _Published("mnist", 784, "rnn", "70 K", "", "21.5 %"),
    _Published("mnist", 784, "TCN", "70 K", "", "99.0 %"),
)


def score_rows(table: Table) -> list[tuple[str, ...]]:
    """Returns a row under `HEAD` for each setting of the grid `reach`, then published ones on the same task."""
    task = table.config.reach.task
    rows: list[tuple[str, ...]] = []
    units = dict.fromkeys(row.unit._replace(seed=0) for row in table.of("reach", "final_loss"))
    for unit in sorted(units, key=lambda unit: unit.lag):
        same = {field: getattr(unit, field) for field in ("cell", "intervention", "clipping", "lag")}
        loss = intervals.mean(table.values("reach", "final_loss", **same)).text()
        accuracy = table.values("reach", "accuracy", **same)
        right = f"{intervals.mean(accuracy).text()} %" if accuracy else ""
        parameters = f"{table.values('reach', 'parameters', **same)[0]:,.0f}"
        model = f"{unit.cell}, {unit.intervention}, {unit.clipping}"
        rows.append((task, str(unit.lag), model, parameters, loss, right, f"{table.floor('reach', unit.lag):.3g}"))
    return rows + [
        (p.task, str(p.lag), _BAI + p.cell, p.parameters, p.loss, p.accuracy, _floor(p))
        for p in _PUBLISHED
        if rows and p.task == task.partition(":")[0]
    ]


def _floor(published: _Published) -> str:
    return f"{LAG_PROBLEMS[published.task](published.lag).floor:.3g}" if published.loss else ""
