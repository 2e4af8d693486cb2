"""Sends the scalars of a run to a tracker: Weights & Biases, MLflow, or the user's own code.

A thread talks to the tracker, so that training never waits for it; its failure is one warning.
"""

import json
import logging
import pathlib
import queue
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ml_collections import ConfigDict

from rnnlab.config import field_paths, get_field
from rnnlab.errors import UserError
from rnnlab.extras import needs
from rnnlab.files import write_text
from rnnlab.own import is_own, load_own

_LOG = logging.getLogger("rnnlab")
_PATIENCE = 30.0  # seconds for the last values, once the run has ended
_FILE = "tracker.json"  # the ids by which trackers know the run, so that a resumed one is the same


class Tracker(Protocol):
    """A tracker of one run, made by a function of the config, as a dictionary, and the work directory."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Records values by name, such as "validation/loss", after `step` steps."""

    def close(self) -> None:
        """Records that the process has ended; the run may resume."""


MakeTracker = Callable[[dict[str, Any], pathlib.Path], Tracker]


class Tracking:
    """A tracker behind a queue.

    Args:
      make: makes the tracker, in the thread.
      name: the tracker's, for the warning.
    """

    def __init__(self, make: Callable[[], Tracker], name: str):
        self._make, self._name, self._given_up = make, name, False
        self._values: queue.SimpleQueue[tuple[int, dict[str, float]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, name="tracker", daemon=True)
        self._thread.start()

    def log(self, step: int, values: dict[str, float]) -> None:
        """Passes values on, and returns at once."""
        if self._thread.is_alive():
            self._values.put((step, values))

    def close(self) -> None:
        """Waits for the tracker, but not for long."""
        self._values.put(None)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self._given_up = True
            _LOG.warning("training.tracker=%s does not answer; its last values are lost", self._name)

    def _send(self) -> None:
        try:
            tracker = self._make()
            while (item := self._values.get()) is not None:
                step, values = item
                tracker.log(values, step)
            tracker.close()
        except Exception as error:  # of the network, the package or the user's own code
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            if not self._given_up:
                _LOG.warning("training.tracker=%s failed (%s); the run continues without it", self._name, reason)


def start_tracking(config: ConfigDict, workdir: pathlib.Path) -> Tracking | None:
    """Starts the tracker of a run's config; None if it has none."""
    make, values = find_tracker(config.training.tracker), json.loads(config.to_json_best_effort())
    return make and Tracking(lambda: make(values, workdir), config.training.tracker)


def find_tracker(name: str) -> MakeTracker | None:
    """Returns the function that makes a tracker; None if the name is empty.

    Raises:
      UserError: an unknown name, a missing package, or the user's own code cannot be imported.
    """
    if not name:
        return None
    if is_own(name):
        try:
            return load_own(name)
        except ValueError as error:
            raise UserError(f"config.training.tracker: {error}") from None
    if name not in _TRACKERS:
        allowed = ", ".join(_TRACKERS)
        raise UserError(f"config.training.tracker: unknown {name!r}; allowed: {allowed}, file.py:NAME, or empty")
    with needs(name, f"config.training.tracker={name}"):
        __import__(name)
    return _TRACKERS[name]


def _read_ids(workdir: pathlib.Path) -> dict[str, str]:
    path = workdir / _FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _add_id(workdir: pathlib.Path, tracker: str, own: str) -> None:
    write_text(workdir / _FILE, json.dumps(_read_ids(workdir) | {tracker: own}))


class _Wandb:
    """Weights & Biases. Its own variables choose project, entity and mode: WANDB_PROJECT, WANDB_MODE=offline ..."""

    def __init__(self, config: dict[str, Any], workdir: pathlib.Path):
        import wandb

        if (own := _read_ids(workdir).get("wandb")) is None:
            _add_id(workdir, "wandb", own := uuid.uuid4().hex)
        settings = wandb.Settings(console="off", silent=True, init_timeout=_PATIENCE / 2)
        where = {"id": own, "name": workdir.name, "dir": workdir}
        self._run = wandb.init(**where, config=config, resume="allow", settings=settings)
        self._run.define_metric("*", step_metric="step")  # a run that returned to a checkpoint has a step twice
        if self._run.url:
            _LOG.info("tracked at %s", self._run.url)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, "step": step})

    def close(self) -> None:
        self._run.finish()


class _MLflow:
    """MLflow. Its own variables choose the server and the experiment: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME."""

    def __init__(self, config: dict[str, Any], workdir: pathlib.Path):
        import mlflow

        self._mlflow, own = mlflow, _read_ids(workdir).get("mlflow")
        run = mlflow.start_run(run_id=own, run_name=None if own else workdir.name)
        if own is None:
            _add_id(workdir, "mlflow", run.info.run_id)
            flat = ConfigDict(config)
            paths = (path for path in field_paths(flat) if not isinstance(get_field(flat, path), ConfigDict))
            mlflow.log_params({path: get_field(flat, path) for path in paths})

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


_TRACKERS: dict[str, MakeTracker] = {"wandb": _Wandb, "mlflow": _MLflow}
