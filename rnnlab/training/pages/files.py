"""The files of a work directory, as far as they can be read."""

import functools
import json
import pathlib
from typing import Any

from rnnlab.config import each_field, get_field
from rnnlab.errors import UserError
from rnnlab.files import undamaged
from rnnlab.tasks import find_task
from rnnlab.tasks.base import Task
from rnnlab.training.plots import Curves, read_curves
from rnnlab.training.reporting import read_vectors
from rnnlab.training.workdir import open_task, read_config

Vectors = dict[str, dict[int, list[float]]]  # by name, then by step


class RunFiles:
    """A run at any time: still in training, stopped, ended, or damaged.

    Attributes:
      workdir, config: of the run.
      kind: the class of its task.
      task: None if a file that it needs is missing or damaged.
      curves: the values of `metrics.csv`.
      scores: the scores of the ended run; selection: its best step; shown: its samples and pictures; start: the lines
        of its last start. Each is None if its file is not there.
      problems: a line for each file that cannot be read.

    Raises:
      UserError: no config, or a damaged one.
    """

    def __init__(self, workdir: pathlib.Path, task: Task | None = None):
        self.workdir, self.problems = workdir, list[str]()
        self.config = read_config(workdir) if task is None else task.config
        self.kind = find_task(self.config.experiment).variant(self.config)
        self.task = task or self._opened()
        self.curves: Curves = self._read(lambda: read_curves(workdir), workdir / "metrics.csv") or {}
        self.scores = self._read_json("result.json")
        self.selection = self._read_json("selection.json")
        self.shown = self._read_json("shown.json")
        self.start = self._read_json("start.json")

    @functools.cached_property
    def vectors(self) -> Vectors:
        """The vectors of `vectors.csv`, in the order of their first step."""
        found: Vectors = {}
        for row in read_vectors(self.workdir):
            found.setdefault(row["name"], {}).setdefault(int(row["step"]), []).append(float(row["value"]))
        return found

    @property
    def last_step(self) -> int:
        """The last step in `metrics.csv`; 0 without any."""
        points = (lines[-1][0] for by_split in self.curves.values() for lines in by_split.values())
        return max(points, default=0)

    @property
    def fields(self) -> dict[str, Any]:
        """The value of each field of the config, by path."""
        return {path: get_field(self.config, path) for path, _ in each_field(self.kind.fields)}

    def _opened(self) -> Task | None:
        try:
            return open_task(self.workdir)
        except UserError as error:
            self.problems.append(str(error))
            return None

    def _read_json(self, name: str) -> Any:
        path = self.workdir / name
        return self._read(lambda: dict(json.loads(path.read_text(encoding="utf-8"))), path) if path.exists() else None

    def _read(self, read: Any, path: pathlib.Path) -> Any:
        try:
            with undamaged(path):
                return read()
        except UserError as error:
            self.problems.append(str(error))
            return None
