"""A run of the lab: does the remaining units of work, then writes the report."""

import hashlib
import json
import logging
import pathlib
import time

from ml_collections import ConfigDict

from rnnlab.config import check_fields, field_paths, get_field
from rnnlab.errors import UserError
from rnnlab.files import alone_in, write_text
from rnnlab.flow_lab.config import FIELDS, default_config, words
from rnnlab.flow_lab.report import write_report
from rnnlab.flow_lab.results import Results, Unit
from rnnlab.flow_lab.studies import GRIDS, read_plan, read_rates
from rnnlab.own_code import check_own, own_digests, read_digests, resolve_own, write_digests
from rnnlab.printing import show
from rnnlab.scans.precision import exact_products
from rnnlab.training.signals import Interrupted, Signals
from rnnlab.training.workdir import check_same_run

# A run may be extended in these fields; any other change would change its figures.
_MAY_GROW = ("studies", "seeds", "cells", "learning_rates", "clippings", "interventions", "lags", "lengths")

_LONGEST = 200  # bytes


def run(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Does the remaining work and writes `results.csv`, `report.html` and `report.md`.

    Raises:
      UserError: an invalid config, one that differs from that of the work directory, or another process works in the
        work directory.
      Interrupted: after SIGINT or SIGTERM; results so far are saved.
    """
    check_fields(config, FIELDS)
    resolve_own(FIELDS, config)
    own = _unchanged(own_digests(FIELDS, config), workdir)
    with alone_in(workdir), Signals() as signals:
        _run(config, workdir, own, signals)


def _run(config: ConfigDict, workdir: pathlib.Path, own: dict[str, str], signals: Signals) -> None:
    try:
        plan = read_plan(config)
        _check_workdir(config, workdir)
        write_digests(workdir, own)
        write_text(workdir / "config.json", config.to_json_best_effort(indent=2))
        results = Results(workdir)
    except ValueError as error:
        raise UserError(str(error)) from None
    logger, started = logging.getLogger("rnnlab"), time.monotonic()
    if config.seeds == 1:
        logger.warning("config.seeds: 1; an interval needs two, so that checks of a mean over seeds cannot tell")
    open_units = [unit for unit in plan if unit not in results.done]
    logger.info("%d units of work, %d of them done already", len(plan), len(plan) - len(open_units))
    for index, unit in enumerate(open_units, 1):
        figures = exact_products(plan[unit])(workdir / "runs" / _folder(unit))
        results.add(unit, figures)
        if signals.received:
            raise Interrupted(signals.received)
        words = " ".join(str(word) for word in unit)
        scores = {name: value for _, name, value in figures if name in ("final_loss", "floor")}
        told = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        logger.info("[%7.1f s] %d of %d: %s  %s", time.monotonic() - started, index, len(open_units), words, told)
    for path in write_report(workdir, config, [row for row in results.rows if row.unit in plan]):
        show(path)


def _unchanged(own: dict[str, str], workdir: pathlib.Path) -> dict[str, str]:
    """Returns digests of the user's own code, including recorded ones of code that is not named any more."""
    recorded = read_digests(workdir)
    for name in own.keys() & recorded.keys():
        check_own(workdir, name)
    return recorded | own


def _folder(unit: Unit) -> str:
    """Returns the folder name of a training run, within the file-system limit of 255 bytes."""
    name = ",".join(str(word) for word in unit).replace("/", "_").encode()
    if len(name) > _LONGEST:
        name = name[-_LONGEST:] + b"," + hashlib.sha256(name).hexdigest()[:8].encode()
    return name.decode(errors="ignore")


def _check_workdir(config: ConfigDict, workdir: pathlib.Path) -> None:
    path = workdir / "config.json"
    if not path.exists():
        return
    saved = default_config()
    try:
        saved.update(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not the config of a gradient-flow run ({error})") from None
    for grid in GRIDS:
        _check_rates(saved, config, grid)
    fixed = tuple(
        p
        for p in field_paths(config)
        if not isinstance(get_field(config, p), ConfigDict) and p.split(".")[-1] not in _MAY_GROW
    )
    check_same_run(saved, config, workdir, fixed=fixed)


def _check_rates(saved: ConfigDict, config: ConfigDict, grid: str) -> None:
    """Refuses another learning rate for a cell that has already been trained."""
    where = f"{grid}.cells"
    both = [cell for cell in words(config[grid].cells, where=where) if cell in words(saved[grid].cells, where=where)]
    old, new = (read_rates(of[grid].learning_rates, both, f"config.{grid}") for of in (saved, config))
    if changed := [cell for cell in both if old[cell] != new[cell]]:
        cell = changed[0]
        raise UserError(
            f"config.{grid}.learning_rates: {cell} was trained with {old[cell]}, not {new[cell]}; use another --workdir"
        )
