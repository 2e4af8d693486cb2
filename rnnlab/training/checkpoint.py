"""Checkpoints by Orbax, written while training goes on, each with a digest of its contents, so that a damaged one is
noticed and passed over. They hold whole arrays, so any number of devices and processes restores them."""

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

_UNFINISHED = "orbax-checkpoint-tmp"  # in the name of what orbax is still writing
_KEEP = 2  # so that a damaged checkpoint has one before it


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
        sealed = {"record": record, "digest": _digest(arrays, record)}
        items = ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(sealed))
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

    def restore(self, like: Any) -> Restored | None:
        """The newest whole checkpoint, as `newest` finds it; None if there is none."""
        return next(self.newest(like), None)

    def newest(self, like: Any) -> Iterator[Restored]:
        """The whole checkpoints, newest first.

        Damaged ones are told of on stderr, moved to the folder `damaged` beside this one (unless only `reading`), and
        passed over.

        Args:
          like: arrays of the shapes and types to restore.
        """
        self._finish()
        sys.unraisablehook = _hush_abandoned_reads
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # the same reads
        abstract = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
        items = ocp.args.Composite(arrays=ocp.args.StandardRestore(abstract), record=ocp.args.JsonRestore())
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = self._manager.restore(step, args=items)
                sealed = found.record
                if sealed["digest"] != _digest(found.arrays, sealed["record"]):
                    raise ValueError("its contents do not match their digest")
            except Exception as error:  # orbax, tensorstore and json each raise their own for a damaged file
                self._set_aside(step, error)
                continue
            yield Restored(step, found.arrays, sealed["record"])

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

    def forget_after(self, step: int) -> None:
        """Takes away the checkpoints of later steps, which will be other ones when they come again."""
        self._finish()
        for later in [found for found in self._manager.all_steps() if found > step]:
            self._manager.delete(later)

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


def _digest(arrays: Any, record: dict) -> str:
    """SHA-256 over every array's bytes and the record."""
    state = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
        value = np.ascontiguousarray(leaf)
        state.update(f"{jax.tree_util.keystr(path)} {value.dtype} {value.shape}".encode())
        state.update(value.tobytes())
    return state.hexdigest()
