"""A run from Python: train one, load one, and use it.

run = rnnlab.train(config, "runs/g2p")  # or rnnlab.load("runs/g2p")
run.predict(["recurrence"], beam_size=5)
"""

import copy
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from flax import nnx
from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.tasks.base import Predictor, Scores, Task
from rnnlab.training.prediction import make_predictor
from rnnlab.training.report import best_params, split_scores
from rnnlab.training.reporting import read_metrics
from rnnlab.training.step import split_model
from rnnlab.training.workdir import open_task


class Run:
    """A trained run: its best parameters and their uses.

    Attributes:
      task: the trained task; its `config` is that of the work directory.
      step: the training step with the best parameters.
      params: the best parameters, by path.
    """

    def __init__(self, task: Task):
        self.task = task
        self.step, self.params = best_params(task)

    def __repr__(self) -> str:
        return f"<rnnlab run {self.task.workdir}: {self.config.experiment}, best step {self.step}>"

    @property
    def config(self) -> ConfigDict:
        """The config; changing it does not affect the trained parameters."""
        return self.task.config

    @functools.cached_property
    def model(self) -> nnx.Module:
        """The flax module with the best parameters."""
        merge, _ = split_model(self.task.sketch)
        return merge(self.params)

    def predict(self, lines: Sequence[str] | bytes, **options: Any) -> list[str]:
        """Predicts outputs for lines of text, or, for a task that reads files, for one file.

        Args:
          lines: any number, or the bytes of a file.
          options: fields of `config.evaluation` (`beam_size=10`) and those of the task's predictor (`n_best=3`).

        Raises:
          UserError: an option that the task does not have, or a line that is not text.
        """
        predictor, encoded = self.predictor(**options), _encoded(lines)
        return predictor([b"\n".join(encoded)] if predictor.takes_whole else encoded, 0)

    def predictor(self, **options: Any) -> Predictor:
        """Makes a predictor, whose compiled programs serve every call; options as in `predict`.

        Raises:
          UserError: an option that the task does not have, or a task that does not predict from lines.
        """
        task, others = self._with(options)
        return make_predictor(task, self.params, others)

    def scores(self, split: str | None = None, **options: Any) -> Scores:
        """Scores a split of the data, as `--mode=evaluate` does.

        Args:
          split: train, validation or test; by default test, or validation if there is no test split.
          options: fields of `config.evaluation`.

        Raises:
          UserError: no such split or option, or the data are not available.
        """
        return split_scores(self._configured(options), self.params, split or self.task.final_split)

    def export(self, out: str | os.PathLike, **options: Any) -> None:
        """Exports the model into a folder that needs no rnnlab, as `--mode=export` does.

        Args:
          out: a new or empty folder.
          options: fields of `config.evaluation`, such as `beam_size`.

        Raises:
          UserError: no such option, the folder has contents, the task cannot be exported, or a package of the extra
            `export` is missing.
        """
        from rnnlab.export.folder import export_model

        export_model(self._configured(options), self.params, pathlib.Path(out).expanduser())

    def encode(self, lines: Sequence[str]) -> list[Any]:
        """Returns the encoder's outputs and states for each line.

        Raises:
          UserError: the task has no encoder.
        """
        return self.task.encode_lines(self.params, lines)

    def attention(self, lines: Sequence[str]) -> list[Any]:
        """Returns the attention weights for the best output of each line, `[output, source]`.

        Raises:
          UserError: the model has no attention.
        """
        return self.task.attention(self.params, lines)

    def metrics(self) -> list[dict[str, str | int | float]]:
        """Reads `metrics.csv`: a row for each value, with its step, split and name."""
        rows = read_metrics(self.task.workdir)
        return [{**row, "step": int(row["step"]), "value": float(row["value"])} for row in rows]

    def _configured(self, options: dict[str, Any]) -> Task:
        """Returns the task with options that are fields of `config.evaluation`.

        Raises:
          UserError: another option.
        """
        task, others = self._with(options)
        if others:
            known = ", ".join(self.config.evaluation)
            raise UserError(f"{next(iter(others))}: not a field of config.evaluation; allowed: {known}")
        return task

    def _with(self, options: dict[str, Any]) -> tuple[Task, dict[str, Any]]:
        """Returns the task with the options that are fields of `config.evaluation`, and the remaining options."""
        config = copy.deepcopy(self.config)
        own = {name: value for name, value in options.items() if name in config.evaluation}
        config.evaluation.update(own)
        self.task.check(config)
        return self.task.configured(config), {name: v for name, v in options.items() if name not in own}


def _encoded(lines: Sequence[str] | bytes) -> list[bytes]:
    """Encodes lines as UTF-8."""
    if isinstance(lines, bytes):
        return lines.split(b"\n")
    try:
        return [line.encode() for line in lines]
    except UnicodeEncodeError as error:
        raise UserError(f"lines: {error.object!r} is not text ({error.reason})") from None


def load(workdir: str | os.PathLike) -> Run:
    """Loads a run from its work directory.

    Raises:
      UserError: not a work directory, or nothing has been saved in it yet.
    """
    return Run(open_task(pathlib.Path(workdir).expanduser()))


def train(config: ConfigDict, workdir: str | os.PathLike) -> Run:
    """Trains a run, or resumes it, and loads its best parameters.

    Raises:
      UserError: an invalid config, or the work directory of another run.
      Interrupted: after SIGINT or SIGTERM, once the state is saved.
    """
    from rnnlab.training import loop

    path = pathlib.Path(workdir).expanduser()
    loop.train(copy.deepcopy(config), path)
    return load(path)
