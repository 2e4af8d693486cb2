"""The studies and their measurements, split into units of work by the config."""

import functools
import itertools
import math
import pathlib
from collections.abc import Callable, Mapping

from jax import Array
from ml_collections import ConfigDict

from rnnlab.cells import CELLS, Cell, Params, find_cell
from rnnlab.choice import check_choice
from rnnlab.config import split_words
from rnnlab.data.lag_problems import LagProblem
from rnnlab.flow_lab import generation, newton, untrained
from rnnlab.flow_lab.config import STUDIES, numbers, read_task, words
from rnnlab.flow_lab.results import Unit
from rnnlab.flow_lab.runs import Figures, Setting, learn, read_other_lengths
from rnnlab.flow_lab.seq2seq import BINS, Translation, Variant, translate
from rnnlab.flow_lab.statements import STATEMENTS
from rnnlab.gradient_flow import Treatment
from rnnlab.own import absolute_own
from rnnlab.training.optimizer import OPTIMIZERS

GRIDS = {
    "reach": learn,
    "explosion": learn,
    "vanishing": learn,
    "lengths": read_other_lengths,
    "warm": newton.in_training,
    "generation": generation.generate,
}
TRANSLATIONS = ("context", "outputs", "dropout")
_CLIPPINGS = ("none", "norm", "value")
_NO = "none"

Plan = dict[Unit, Callable[[pathlib.Path], Figures]]  # the folder is for the files of a training run


def read_plan(config: ConfigDict) -> Plan:
    """Lists every unit of work, in order, and the function that does it.

    Raises:
      ValueError: an unknown name; names the field and what is allowed.
    """
    asked = [
        check_choice("config.studies", word, (*STUDIES, *STATEMENTS)) for word in words(config.studies, where="studies")
    ]
    studies = [word if word in STUDIES else STATEMENTS[word].study for word in asked]
    plan: Plan = {}
    looks = (
        ("criterion", untrained.criterion, CELLS | {"linear": untrained.LINEAR}),
        ("flow", untrained.flow, CELLS),
        ("newton", newton.at_start, CELLS),
        ("direction", untrained.clip, CELLS),
    )
    for study, look, cells in looks:
        plan |= _looks(config, study, look, cells)
    for grid in GRIDS:
        plan |= _trainings(config, grid)
    for study in TRANSLATIONS:
        plan |= _translations(config, study)
    plan |= _costs(config)
    return {unit: work for unit, work in plan.items() if unit.study in studies}


def _looks(config: ConfigDict, study: str, look: Callable[..., Figures], known: Mapping[str, Cell]) -> Plan:
    part = config[study]
    plan: Plan = {}
    cells, texts = (
        _cells(part.cells, f"{study}.cells", known),
        words(part.interventions, where=f"{study}.interventions"),
    )
    ways = {_NO: look}
    if "clippings" in part:
        limits = [_check_clipping(w, f"config.{study}") for w in words(part.clippings, where=f"{study}.clippings")]
        ways = {limit: functools.partial(look, clipping=limit) for limit in limits}
    for name, text, limit in itertools.product(cells, texts, ways):
        treatment = _read_treatment(text, f"{study}.interventions")
        if treatment.fits(cells[name]):
            for seed in range(config.seeds):
                unit = Unit(study, name, text, limit, part.lag, seed)
                plan[unit] = _look_at(ways[limit], cells[name], treatment, config.features, part.lag, seed)
    return plan


def _trainings(config: ConfigDict, grid: str) -> Plan:
    part = config[grid]
    where = f"config.{grid}"
    task = read_task(part.task, where=f"{grid}.task")
    check_choice(f"{where}.optimizer", part.optimizer, OPTIMIZERS)
    cells = _cells(part.cells, f"{grid}.cells")
    clippings = [_check_clipping(w, where) for w in words(part.clippings, where=f"{grid}.clippings")]
    treatments = words(part.interventions, where=f"{grid}.interventions")
    rates = read_rates(part.learning_rates, list(cells), where)
    if grid == "generation":
        _check_generation(cells, part.task, where)
    plan: Plan = {}
    for cell, clipping, text, lag in itertools.product(
        cells, clippings, treatments, numbers(part.lags, where=f"{grid}.lags")
    ):
        if not _read_treatment(text, f"{grid}.interventions").fits(cells[cell]):
            continue
        _check_lag(task, lag, where)
        sizes = {field: part.get(field, config[field]) for field in ("features", "batch_size", "measure_every")}
        same = {field: part[field] for field in ("task", "optimizer", "steps", "solved")}
        setting = Setting(cell, text, clipping, lag=lag, learning_rate=rates[cell], **sizes, **same)
        for seed in range(config.seeds):
            plan[Unit(grid, cell, text, clipping, lag, seed)] = functools.partial(GRIDS[grid], setting, seed)
    return plan


def _translations(config: ConfigDict, study: str) -> Plan:
    part = config[study]
    plan: Plan = {}
    cells, texts = _cells(part.cells, f"{study}.cells"), words(part.interventions, where=f"{study}.interventions")
    for cell, text, longest in itertools.product(cells, texts, numbers(part.lags, where=f"{study}.lags")):
        if longest < BINS:
            raise ValueError(f"config.{study}.lags: {longest} is too short; it must be at least {BINS}")
        try:
            variant = Variant.read(text)
        except ValueError as error:
            raise ValueError(f"config.{study}.interventions: {error}") from None
        setting = Translation(cell, variant, longest, part.features, config.batch_size, part.learning_rate, part.steps)
        for seed in range(config.seeds):
            plan[Unit(study, cell, text, _NO, longest, seed)] = functools.partial(translate, setting, seed)
    return plan


def _look_at(
    look: Callable[[Cell, Params, Array], Figures], cell: Cell, treatment: Treatment, features: int, lag: int, seed: int
) -> Callable[[pathlib.Path], Figures]:
    return _without_files(lambda: look(cell, *untrained.start(cell, treatment, features, lag, seed)))


def _without_files(work: Callable[[], Figures]) -> Callable[[pathlib.Path], Figures]:
    return lambda folder: work()


def _costs(config: ConfigDict) -> Plan:
    part = config.cost
    cells = _cells(part.cells, "cost.cells")
    lengths = numbers(part.lengths, where="cost.lengths")
    return {
        Unit("cost", cell, "default", _NO, length, 0): _without_files(
            functools.partial(untrained.cost, cells[cell], config.features, config.batch_size, length, part.repeats)
        )
        for cell, length in itertools.product(cells, lengths)
    }


def _cells(text: str, where: str, known: Mapping[str, Cell] = CELLS) -> dict[str, Cell]:
    names = words(text, where=where)
    try:
        return {name: find_cell(name, known) for name in names}
    except ValueError as error:
        raise ValueError(f"config.{where}: {error}") from None


def _read_treatment(text: str, where: str) -> Treatment:
    try:
        return Treatment.read(text)
    except ValueError as error:
        raise ValueError(f"config.{where}: {error}") from None


def _check_lag(task: Callable[[int], LagProblem], lag: int, where: str) -> None:
    try:
        task(lag)
    except ValueError as error:
        raise ValueError(f"{where}.lags: {error}") from None


def _check_generation(cells: Mapping[str, Cell], task: str, where: str) -> None:
    check_choice(f"{where}.task", task.partition(":")[0], generation.TASKS)
    for name, cell in cells.items():
        try:
            generation.autoregressive(cell)
        except ValueError as error:
            raise ValueError(f"{where}.cells: {name}: {error}") from None


def _check_clipping(word: str, where: str) -> str:
    kind, _, limit = word.partition(":")
    check_choice(f"{where}.clippings", kind, _CLIPPINGS)
    if kind != _NO and not (limit.replace(".", "", 1).isdecimal() and float(limit) > 0):
        raise ValueError(f"{where}.clippings: {word!r} needs a limit above 0 after a colon, such as {kind}:1")
    return word


def read_rates(text: str, cells: list[str], where: str) -> dict[str, float]:
    """Parses the learning rate of each cell from "cell:rate" for each, or one rate for all.

    Raises:
      ValueError: a cell without a rate, or with one that is not above 0.
    """
    pairs = (word.rpartition(":") for word in split_words(text))
    found = {absolute_own(cell): rate for cell, _, rate in pairs}
    try:
        rates = {cell: float(found.get(cell, found.get("", "nan"))) for cell in cells}
    except ValueError:
        rates = {"": math.nan}
    if missing := [cell for cell, rate in rates.items() if not rate > 0]:
        raise ValueError(f"{where}.learning_rates: {text!r} gives no rate above 0 for {', '.join(missing) or 'all'}")
    return rates
