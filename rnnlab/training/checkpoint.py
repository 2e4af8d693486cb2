"""Checkpoints by Orbax, written while training goes on, each with the names and shapes of its arrays, so that one of
another structure is known before it is restored, and a digest of its contents, so that a damaged one is noticed and
passed over. They hold whole arrays, so any number of devices and processes restores them."""

import hashlib
import itertools
import json
import logging
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import LatestN

from rnnlab.errors import UserError

_UNFINISHED = "orbax-checkpoint-tmp"  # in the name of what orbax is still writing
_KEEP = 2  # so that a damaged checkpoint has one before it
_SHOWN = 5  # names of arrays in a message


class Restored(NamedTuple):
    """A checkpoint: the step that it was saved after, its arrays, and its JSON record."""

    step: int
    arrays: Any
    record: dict


class Checkpoints:
    """The newest checkpoints of a folder.

    Args:
      folder: made if it is not there.
      keep: how many; at least two are kept.
      reading: nothing is made, written or moved; a damaged one is told of and stays where it is.
    """

    def __init__(self, folder: pathlib.Path, *, keep: int = _KEEP, reading: bool = False):
        # orbax would wait for every process of a run, of which one alone writes
        alone = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(), active_processes={jax.process_index()}, barrier_sync_key_prefix="own"
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=LatestN(max(keep, _KEEP)),
            cleanup_tmp_directories=not reading,
            create=False,  # orbax makes none where one process alone writes
            multiprocessing_options=alone,
        )
        self._folder, self._reading, self._pending = folder.resolve(), reading, 0
        if not reading:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, arrays: Any, record: dict) -> None:
        """Writes a checkpoint whole or not at all, in the background. One that is there for `step` is left as it is.

        Where it cannot be written (a full disk), a warning says so, and those before it stay.

        Args:
          arrays: of the host; none of them may change later.
        """
        self._finish()
        if step in self._manager.all_steps():
            return
        named = _named(arrays)
        sealed = {"record": record, "shapes": _shapes(named), "digest": _digest(named, record)}
        items = ocp.args.Composite(arrays=ocp.args.StandardSave(named), record=ocp.args.JsonSave(sealed))
        self._pending = step
        try:
            self._manager.save(step, args=items)
        except Exception as error:  # orbax, tensorstore and the system each raise their own
            self._tell_unsaved(error)

    def _finish(self) -> None:
        """Waits for what is being written."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            self._tell_unsaved(error)

    def _tell_unsaved(self, error: Exception) -> None:
        for leftover in self._folder.glob(f"*{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.rmtree(self._folder / str(self._pending), ignore_errors=True)
        self._manager.reload()
        kept = max(self._manager.all_steps(), default=None)
        logging.getLogger("rnnlab").warning(
            "checkpoint %s could not be saved (%s); %s; training goes on",
            self._folder / str(self._pending),
            _reason(error),
            "none was saved before" if kept is None else f"the last one is that of step {kept}",
        )

    def steps(self) -> list[int]:
        """The steps of which there are checkpoints, damaged ones among them."""
        self._finish()
        return list(self._manager.all_steps())

    def restore(self, like: Any, *, optional: str | None = None, before: int | None = None) -> Restored | None:
        """The newest whole checkpoint, as `newest` finds it, of a step below `before` if that is given; None if there
        is none."""
        return next(self.newest(like, optional=optional, before=before), None)

    def newest(self, like: Any, *, optional: str | None = None, before: int | None = None) -> Iterator[Restored]:
        """The whole checkpoints, newest first.

        Damaged ones are logged, moved to the folder `damaged` beside this one (unless only `reading`), and passed over.

        Args:
          like: arrays of the shapes and types to restore.
          optional: field of `like` that may have other arrays than the checkpoint; those that the checkpoint lacks are
            the ones of `like`, and a warning names them.
          before: only those of steps below it.

        Raises:
          UserError: a whole checkpoint has other arrays than `like`.
        """
        sys.unraisablehook = _hush_abandoned_reads
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # the same reads
        for step in sorted(self.steps(), reverse=True):
            if before is not None and step >= before:
                continue
            try:
                named, record = self._read(step)
            except UserError:
                raise
            except Exception as error:  # orbax, tensorstore and json each raise their own for a damaged file
                self._set_aside(step, error)
                continue
            yield Restored(step, self._fitted(step, named, like, optional), record)

    def _read(self, step: int) -> tuple[dict[str, np.ndarray], dict]:
        """The arrays of a checkpoint by name, as many and of such shapes as it has, and its record."""
        sealed = self._manager.restore(step, args=ocp.args.Composite(record=ocp.args.JsonRestore())).record
        if sealed.keys() == {"record", "digest"}:
            raise UserError(f"checkpoint {self._folder / str(step)} was saved by an older version of rnnlab")
        abstract = {name: np.empty(shape, dtype) for name, (dtype, *shape) in sealed["shapes"].items()}
        named = self._manager.restore(step, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(abstract))).arrays
        if sealed["digest"] != _digest(named, sealed["record"]):
            raise ValueError("its contents do not match their digest")
        return named, sealed["record"]

    def _fitted(self, step: int, named: dict[str, np.ndarray], like: Any, optional: str | None) -> Any:
        """The arrays in the structure of `like`."""
        wanted = _named(like)
        found, needed = _shapes(named), _shapes(wanted)
        other = sorted(name for name in found.keys() | needed.keys() if found.get(name) != needed.get(name))
        folder, names = self._folder / str(step), ", ".join(other[:_SHOWN]) + (", ..." if len(other) > _SHOWN else "")
        if any(optional is None or name.split("/")[0] != optional for name in other):
            raise UserError(
                f"checkpoint {folder} is whole but of another model or another version of rnnlab: {names} "
                "differ; use another --workdir"
            )
        if other:
            logging.getLogger("rnnlab").warning(
                "checkpoint %s was saved with another %s: %s start anew or are dropped; all else is restored",
                folder,
                optional,
                names,
            )
        kept = {name: wanted[name] if name in other else named[name] for name in wanted}
        return jax.tree.unflatten(jax.tree.structure(like), kept.values())

    def _set_aside(self, step: int, error: Exception) -> None:
        if self._reading:
            logging.getLogger("rnnlab").warning(
                "checkpoint %s is damaged (%s); passed over", self._folder / str(step), _reason(error)
            )
            return
        folder = self._folder.parent / "damaged"
        folder.mkdir(exist_ok=True)
        names = (f"{self._folder.name}-{step}.{n}" for n in itertools.count())
        aside = next(folder / name for name in names if not (folder / name).exists())
        logging.getLogger("rnnlab").warning(
            "checkpoint %s is damaged (%s); moved to %s, going on from the one before",
            self._folder / str(step),
            _reason(error),
            aside,
        )
        (self._folder / str(step)).rename(aside)
        self._manager.reload()

    def forget_after(self, step: int) -> list[int]:
        """Takes away the checkpoints of later steps, which will be other ones when they come again; returns those."""
        later = [found for found in self.steps() if found > step]
        for found in later:
            self._manager.delete(found)
        return later

    def keep_only(self, step: int) -> None:
        """Takes away all but the checkpoint of `step`, if that could be saved."""
        steps = self.steps()
        for other in [found for found in steps if found != step and step in steps]:
            self._manager.delete(other)

    def close(self) -> None:
        """Waits for what is being written, and ends Orbax's threads."""
        self._finish()
        self._manager.close()


def _hush_abandoned_reads(unraisable: Any) -> None:
    """Of a damaged checkpoint orbax abandons the reads that are still under way, and each ends in a stack of Python."""
    if "Event loop is closed" not in str(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)


def _reason(error: Exception) -> str:
    text = str(error)
    if "No space left" in text or "ENOSPC" in text:  # which orbax buries in a page of its own
        return "no space left on the device"
    return (text.strip() or type(error).__name__).splitlines()[0][:200]


def _named(arrays: Any) -> dict[str, Any]:
    """The arrays by their path within a pytree, such as "optimizer/1/0/count"."""
    flat = jax.tree_util.tree_flatten_with_path(arrays)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def _shapes(named: dict[str, Any]) -> dict[str, list]:
    return {name: [str(leaf.dtype), *leaf.shape] for name, leaf in named.items()}


def _digest(named: dict[str, Any], record: dict) -> str:
    """SHA-256 over every array's bytes and the record."""
    state = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for name, leaf in sorted(named.items()):
        value = np.ascontiguousarray(leaf)
        state.update(f"{name} {value.dtype} {value.shape}".encode())
        state.update(value.tobytes())
    return state.hexdigest()
