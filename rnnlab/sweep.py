"""A grid of runs, each in its own work directory and process; resumes where it was stopped, and ends with a table.

Imports `rnnlab.training`; imported only by `app.py`.
"""

import copy
import difflib
import itertools
import json
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from rnnlab.config import field_paths, get_field
from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.own import name_of_own
from rnnlab.pictures import drawable, picture, survived
from rnnlab.printing import show, to_csv
from rnnlab.tasks import find_task
from rnnlab.training.workdir import read_config, resolve_paths

Values = dict[str, str]  # of the fields of one run


class Done(NamedTuple):
    """A run of the grid: its values and its scores on the test split, or the last line printed by a failed run; and the
    metric by which its best parameters were selected, if recorded."""

    values: Values
    scores: dict[str, float]
    failure: str
    selection: dict[str, Any] = {}  # noqa: RUF012 (it is never changed)

    @property
    def chosen_by(self) -> float | None:
        """The value on validation."""
        return self.selection.get("value")


def read_sweep(text: str, config: ConfigDict) -> list[Values]:
    """Lists the runs of a grid, the last field changing fastest.

    Args:
      text: such as "model.encoder.cell=lstm,gru;seed=0,1,2".
      config: the config of all runs, which has the fields.

    Raises:
      UserError: a field that is unknown or occurs twice, or values of the wrong type or that occur twice.
    """
    fields: dict[str, list[str]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, values = (piece.strip() for piece in part.partition("="))
        known = [path for path in field_paths(config) if not isinstance(get_field(config, path), ConfigDict)]
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise UserError(f"--sweep: {name!r} is not a field of the config; nearest: {nearest}")
        given = [value.strip() for value in values.split(",")]
        if name in fields or len(set(given)) < len(given) or "" in given:
            raise UserError(
                f"--sweep: {part!r}: each field may occur once, each of its values once, and none may be empty"
            )
        for value in given:
            _typed(name, value, config)
        fields[name] = given
    if not fields:
        raise UserError(f"--sweep: {text!r} names no field; write it as field=value,value;field=value,value")
    return [dict(zip(fields, values, strict=True)) for values in itertools.product(*fields.values())]


def _typed(name: str, value: str, config: ConfigDict) -> object:
    kind = type(get_field(config, name))
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        return kind(value)
    except (ValueError, KeyError):
        raise UserError(f"--sweep: {name}={value!r} is not of type {kind.__name__}") from None


def run_sweep(
    grid: Sequence[Values], config: ConfigDict, workdir: pathlib.Path, command: Sequence[str], cell: int | None = None
) -> int:
    """Runs the unfinished runs of a grid, one after the other; then prints a table, and writes it as `sweep.csv` and as
    a picture, `sweep.png`. A failed run is logged, and the next one starts.

    Args:
      workdir: contains a work directory for each run, named by its values, with the run's output in `log.txt`.
      command: trains one run, with `--workdir` and the values as further flags.
      cell: for job arrays, does only the run of this number, from 0, and no table.

    Returns:
      the exit status: 0, 1 if a run failed, or 128 + signal if a signal stopped it.

    Raises:
      UserError: no such cell.
    """
    if cell is not None and not 0 <= cell < len(grid):
        raise UserError(f"--sweep_cell: {cell} is not one of the {len(grid)} runs, which count from 0")
    chosen = grid if cell is None else [grid[cell]]
    found = []
    for number, values in enumerate(chosen, 1):
        name = ",".join(f"{field}={value}" for field, value in values.items())
        folder = workdir / name.replace("/", "_")
        status = 0
        if _result(folder, values, config) is None:
            show(f"run {number} of {len(chosen)}: {name}", file=sys.stderr)
            status = _run(values, folder, command)
        if status > 128:
            show(f"stopped by {signal.Signals(status - 128).name}; the same command resumes from here", file=sys.stderr)
            return status
        result = _result(folder, values, config)
        failure = "" if result else _last_line(folder / "log.txt")
        found.append(Done(values, result or {}, failure, _selection(folder) if result else {}))
        if not result:
            show(f"failed: {name}: {found[-1].failure}", file=sys.stderr)
    if cell is None:
        _tell(found, name_of_own(config.training.best_metric), workdir)
    return int(any(done.failure for done in found))


def _result(folder: pathlib.Path, values: Values, config: ConfigDict) -> dict[str, float] | None:
    """Returns the scores of a finished run with these values, this config, and unchanged data and user's own code; None
    if there is no such run."""
    wanted = copy.deepcopy(config)
    with wanted.unlocked():
        wanted.update_from_flattened_dict({name: _typed(name, value, config) for name, value in values.items()})
    kind = find_task(config.experiment).variant(config)
    resolve_paths(kind, wanted)
    try:
        saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if saved != json.loads(wanted.to_json_best_effort()):
        return None
    try:
        read_config(folder)
    except UserError:  # its code has changed, which the run itself reports
        return None
    return result if kind.has_data_of(wanted, folder) else None


def _selection(folder: pathlib.Path) -> dict[str, Any]:
    """Returns what a run recorded about its best parameters; nothing if an older version wrote it."""
    try:
        return json.loads((folder / "selection.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _run(values: Values, folder: pathlib.Path, command: Sequence[str]) -> int:
    """Trains one run; SIGINT and SIGTERM are passed on to it, and the status is then 128 + signal."""
    folder.mkdir(parents=True, exist_ok=True)
    flags = [f"--workdir={folder}", *(f"--config.{field}={value}" for field, value in values.items())]
    asked: list[int] = []
    started: list[subprocess.Popen] = []

    def pass_on(signum, _frame):
        asked.append(signum)
        for process in started:
            process.send_signal(signum)

    before = {s: signal.signal(s, pass_on) for s in (signal.SIGINT, signal.SIGTERM)}  # first: no run is left behind
    try:
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            process = subprocess.Popen([*command, *flags], stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        started.append(process)
        if asked:
            process.send_signal(asked[0])
        status = process.wait()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    return 128 + asked[0] if asked else min(abs(status), 1)


def _last_line(path: pathlib.Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else "no output"


def _tell(found: Sequence[Done], metric: str, workdir: pathlib.Path) -> None:
    names = list(dict.fromkeys(name for done in found for name in done.scores))
    rows = [[*done.values.values(), *map(done.scores.get, names), done.chosen_by, done.failure] for done in found]
    table = to_csv([[*found[0].values, *names, f"validation_{metric}", "failure"], *rows])
    write_text(workdir / "sweep.csv", table)
    show(table.removesuffix("\n"))
    _show_best([done for done in found if done.chosen_by is not None], metric)
    with survived(path := workdir / "sweep.png"):
        _plot(found, metric, path)


def _show_best(found: Sequence[Done], metric: str) -> None:
    """Prints the best run on validation, and its score on the test split."""
    if not found:
        return
    best = min(found, key=lambda done: (done.chosen_by or 0.0) * (1 if done.selection["lower_is_better"] else -1))
    values = ",".join(f"{field}={value}" for field, value in best.values.items())
    test = best.scores.get(metric)
    show(f"best on validation ({metric} {best.chosen_by:.4g}): {values}; test {metric} {test}", file=sys.stderr)


def _plot(found: Sequence[Done], metric: str, path: pathlib.Path) -> None:
    """Plots a column of points for runs that differ only in their seed, and a line at their mean."""
    groups: dict[str, list[float]] = {}
    for done in found:
        lines = [f"{k.rpartition('.')[2]}={v}" for k, v in done.values.items() if k != "seed"] or ["all seeds"]
        if (score := done.scores.get(metric)) is not None:
            groups.setdefault("\n".join(map(drawable, lines)), []).append(score)
    with picture(path, 2.5 + 1.1 * len(groups), 3.5) as figure:
        axis = figure.subplots()
        for column, scores in enumerate(groups.values()):
            axis.plot([column] * len(scores), scores, "o", color="tab:blue", alpha=0.6)
            axis.plot([column - 0.25, column + 0.25], 2 * [sum(scores) / len(scores)], color="tab:orange")
        axis.set_xticks(range(len(groups)), list(groups))
        axis.set(ylabel=f"{metric}, test split", xlim=(-0.5, max(len(groups), 1) - 0.5))
