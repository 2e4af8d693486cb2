"""Selection of the best step so far, by a metric on validation; its parameters are in the folder `best`."""

import logging
import math
from typing import Any

from rnnlab.tasks.base import ModelParams, Scores, Task
from rnnlab.training import distributed
from rnnlab.training.checkpoint import Checkpoints

_LOG = logging.getLogger("rnnlab")
# The metric that selected the best step, its value (None if no value was finite), evaluations since.
_UNDECIDED: dict[str, Any] = {"by": None, "best": None, "misses": 0}


class Selection:
    """The best step so far and the evaluations since.

    Args:
      task: defines the metric.
      like: parameters with the shapes to save.
    """

    def __init__(self, task: Task, like: ModelParams):
        self._metric, self._like = task.config.training.best_metric, like
        self._lower_is_better = task.lower_is_better(self._metric)
        self._by = {**task.scored_by(self._metric), "best_metric": self._metric}
        self._store = Checkpoints(task.workdir / "best", keep=task.config.evaluation.average)
        self.decision = _UNDECIDED

    @property
    def undecided(self) -> bool:
        """Whether this metric has not selected a step yet."""
        return self.decision["by"] is None

    @property
    def misses(self) -> int:
        """Evaluations in a row without a new best."""
        return self.decision["misses"]

    def reached(self, threshold: float) -> bool:
        """Returns whether the best value so far reaches a threshold; 0 disables it."""
        best = self.decision["best"]
        if best is None or not threshold:
            return False
        return best <= threshold if self._lower_is_better else best >= threshold

    def resume(self, decision: dict[str, Any] | None, step: int) -> None:
        """Restores the selection of a checkpoint of `step`, if it used the same metric and its parameters exist.

        Best parameters of later steps belong to another run, and are deleted.
        """
        decision = _UNDECIDED if decision is None else decision
        first = distributed.is_first()
        if first and (later := self._store.forget_after(step)):
            _LOG.warning("step %d: the best parameters of later steps (%s) are deleted", step, later)
        newest = max(self._store.steps(), default=None)
        found = self._store.restore(self._like) if first else None
        whole = distributed.agree(found is not None and found.step == newest)
        if decision.get("by") == self._by and whole:
            self.decision = decision
            return
        if decision["best"] is not None:
            _LOG.info("step %d: the best step is selected anew, by %s", step, self._metric)
        self.decision = _UNDECIDED

    def judge(self, step: int, scores: Scores, params: ModelParams) -> None:
        """Saves the parameters of `step` if they are the best so far; scores that are not finite never are."""
        value, best = float(scores[self._metric]), self.decision["best"]
        sound = math.isfinite(value) and math.isfinite(float(scores["loss"]))  # a search finds an output even with NaN
        better = sound and (best is None or (value < best if self._lower_is_better else value > best))
        misses = 0 if better else self.misses + 1
        self.decision = {"by": self._by, "best": value if better else best, "misses": misses}
        if distributed.is_first() and (better or not self._store.steps()):
            self._store.save(step, params, {self._metric: value if sound else None})
            if best is None:  # the saved parameters were selected by another metric, or are not finite
                self._store.keep_only(step)

    def steps(self) -> list[int]:
        """The steps with saved parameters."""
        return self._store.steps()

    def close(self) -> None:
        """Waits for pending writes."""
        self._store.close()
