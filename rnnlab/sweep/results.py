"""A run of a sweep: its settings, and what its work directory holds.

Imports `rnnlab.training` and `rnnlab.tasks`.
"""

import copy
import dataclasses
import json
import math
import pathlib
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.sweep.settings import Values, with_values
from rnnlab.tasks import find_task
from rnnlab.training.reporting import read_metrics
from rnnlab.training.workdir import read_config, resolve_paths


def name_of(values: Values) -> str:
    """Returns the name of a run for the terminal."""
    return ",".join(f"{field}={value}" for field, value in values.items())


def folder_of(values: Values) -> str:
    """Returns the name of a run's work directory."""
    return name_of(values).replace("/", "_")


class Done(NamedTuple):
    """The outcome of a run.

    Attributes:
      values: of the swept fields.
      scores: of the best step on the test split, or on validation if there is no test split; `split` names it.
      failure: the last line printed by a failed run, which has no scores.
      selection: the metric by which its best parameters were selected, if recorded.
      steps: of its last stage of successive halving, else 0.
    """

    values: Values
    scores: dict[str, float]
    failure: str
    selection: dict[str, Any] = {}  # noqa: RUF012 (it is never changed)
    steps: int = 0

    @property
    def chosen_by(self) -> float | None:
        """The value on validation."""
        return self.selection.get("value")

    @property
    def rank(self) -> tuple[int, float]:
        """The key that sorts runs from the best on validation to the worst; of more steps first, failed ones last."""
        if self.chosen_by is None:
            return 0, math.inf
        return -self.steps, self.chosen_by if self.selection["lower_is_better"] else -self.chosen_by


@dataclasses.dataclass(frozen=True)
class SweepRun:
    """A run of a sweep.

    Attributes:
      values: of the swept fields, which name it.
      parent: contains its work directory.
      base: the config of the sweep, without these values.
      budget: the fields that a stage of successive halving sets.
    """

    values: Values
    parent: pathlib.Path
    base: ConfigDict
    budget: Values = dataclasses.field(default_factory=dict)

    @property
    def folder(self) -> pathlib.Path:
        return self.parent / folder_of(self.values)

    @property
    def flags(self) -> list[str]:
        """The flags of its process."""
        fields = self.values | self.budget
        return [f"--workdir={self.folder}", *(f"--config.{field}={value}" for field, value in fields.items())]

    def scores(self) -> dict[str, float] | None:
        """Returns the scores of the finished run with this config, and unchanged data and user's own code; None if
        there is no such run."""
        config = with_values(self.base, self.values | self.budget)
        return self._read("result.json") if self._saved_steps(config) == config.training.steps else None

    def passed(self) -> bool:
        """Returns whether it has finished this stage, perhaps with a later one begun."""
        config = with_values(self.base, self.values | self.budget)
        saved = self._saved_steps(config)
        return self.scores() is not None or bool(self.budget and saved and saved > config.training.steps)

    def _saved_steps(self, config: ConfigDict) -> int | None:
        """Returns `training.steps` of the saved run; None if it differs from a config in anything else."""
        kind = find_task(config.experiment).variant(config)
        try:
            saved = read_config(self.folder)
        except UserError:  # there is none, or its code has changed, which the run itself reports
            return None
        wanted = copy.deepcopy(config)
        resolve_paths(kind, wanted)
        wanted.training.steps = saved.training.steps
        same = saved.to_json_best_effort() == wanted.to_json_best_effort() and kind.has_data_of(wanted, self.folder)
        return saved.training.steps if same else None

    def done(self, failure: str) -> Done:
        """Returns the outcome when the sweep has ended; `failure` counts if the run has no scores."""
        steps = int(self.budget.get("training.steps", 0))
        if (scores := self.scores()) is None:
            return Done(self.values, {}, failure, {}, steps)
        return Done(self.values, scores, "", self.selection(), steps)

    def selection(self) -> dict[str, Any]:
        """Returns what the run recorded about its best parameters; nothing if an older version wrote it."""
        return self._read("selection.json") or {}

    def best_of_stage(self) -> float:
        """Returns the best value on validation up to the end of its stage, such that lower is better; infinity without
        a finite one."""
        selection, steps = self.selection(), int(self.budget["training.steps"])
        sign = 1 if selection.get("lower_is_better", True) else -1
        wanted = ("validation", selection.get("metric"))
        rows = [row for row in read_metrics(self.folder) if (row["split"], row["name"]) == wanted]
        values = [sign * float(row["value"]) for row in rows if int(row["step"]) <= steps]
        return min(filter(math.isfinite, values), default=math.inf)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
