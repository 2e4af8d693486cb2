"""A run of the lab: does the units of work that are not done yet, then writes the report."""

import hashlib
import json
import logging
import pathlib
import time

from ml_collections import ConfigDict

from rnnlab.config import check_fields, field_paths, get_field
from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.flow_lab.config import FIELDS, default_config
from rnnlab.flow_lab.report import write_report
from rnnlab.flow_lab.results import Results, Unit
from rnnlab.flow_lab.studies import read_plan
from rnnlab.printing import show
from rnnlab.training.own_code import check_own, own_digests, read_digests, resolve_own, write_digests
from rnnlab.training.workdir import check_same_run

# A run may be taken on with more of these; whatever else differs makes other figures.
_MAY_GROW = ("studies", "seeds", "cells", "clippings", "interventions", "lags", "lengths")

_LONGEST = 200  # of the name of a folder: file systems allow 255 bytes


def run(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Does what is not done yet and writes `results.csv`, `report.html` and `report.md`.

    Raises:
      UserError: a config that means nothing, or one that differs from that of the work directory.
    """
    check_fields(config, FIELDS)
    resolve_own(FIELDS, config)
    own = _unchanged(own_digests(FIELDS, config), workdir)
    try:
        plan = read_plan(config)
        _check_workdir(config, workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        write_digests(workdir, own)
        write_text(workdir / "config.json", config.to_json_best_effort(indent=2))
        results = Results(workdir)
    except ValueError as error:
        raise UserError(str(error)) from None
    logger, started = logging.getLogger("rnnlab"), time.monotonic()
    open_units = [unit for unit in plan if unit not in results.done]
    logger.info("%d units of work, %d of them done already", len(plan), len(plan) - len(open_units))
    for index, unit in enumerate(open_units, 1):
        figures = plan[unit](workdir / "runs" / _folder(unit))
        results.add(unit, figures)
        words = " ".join(str(word) for word in unit)
        scores = {name: value for _, name, value in figures if name in ("final_loss", "floor")}
        told = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        logger.info("[%7.1f s] %d of %d: %s  %s", time.monotonic() - started, index, len(open_units), words, told)
    for path in write_report(workdir, config, [row for row in results.rows if row.unit in plan]):
        show(path)


def _unchanged(own: dict[str, str], workdir: pathlib.Path) -> dict[str, str]:
    """Digests of the user's own code, with those that the work directory has of code that is not named any more."""
    recorded = read_digests(workdir)
    for name in own.keys() & recorded.keys():
        check_own(workdir, name)
    return recorded | own


def _folder(unit: Unit) -> str:
    name = ",".join(str(word) for word in unit).replace("/", "_")
    return name if len(name) <= _LONGEST else f"{name[-_LONGEST:]},{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _check_workdir(config: ConfigDict, workdir: pathlib.Path) -> None:
    path = workdir / "config.json"
    if not path.exists():
        return
    saved = default_config()
    try:
        saved.update(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not the config of a gradient-flow run ({error})") from None
    fixed = tuple(
        p
        for p in field_paths(config)
        if not isinstance(get_field(config, p), ConfigDict) and p.split(".")[-1] not in _MAY_GROW
    )
    check_same_run(saved, config, workdir, fixed=fixed)
