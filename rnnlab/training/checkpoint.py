"""Checkpoints by Orbax, written in the background. Each stores the names and shapes of its arrays, to recognise another
structure before restoring, and a digest of its contents, to detect damage. Each process writes the pieces of arrays
that it holds, as a part with a digest of its own; any number of devices and processes can restore all parts, as whole
arrays."""

import concurrent.futures
import hashlib
import itertools
import json
import logging
import pathlib
import secrets
import shutil
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import LatestN

from rnnlab.errors import UserError
from rnnlab.training import distributed
from rnnlab.training.pieces import assemble, holders, named_arrays, own_pieces

_UNFINISHED = "orbax-checkpoint-tmp"  # in the names that orbax is still writing
_KEEP = 2  # so that a damaged checkpoint has one before it
_SHOWN = 5  # names of arrays in a message
# One for all checkpoints of a process: orbax mixes up two that start to save at the same time in different threads.
_WRITER = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")


class Restored(NamedTuple):
    """A checkpoint: the step that it was saved after, its arrays, and its JSON record."""

    step: int
    arrays: Any
    record: dict


class Checkpoints:
    """The newest checkpoints of a folder.

    Args:
      folder: created if missing; that of process 0, which restores all parts.
      process, processes: whose part this object writes, and how many there are. Every process of several calls `save`
        together, and each part lies in its own folder, as `process_1/checkpoints`, so that no process waits for another
        one that cannot write.
      keep: how many to keep, at least two.
      reading: creates, writes and moves nothing; a damaged checkpoint is logged and stays where it is.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        process: int = 0,
        processes: int = 1,
        keep: int = _KEEP,
        reading: bool = False,
    ):
        # orbax would wait for all processes of a run, for minutes if one of them cannot write
        alone = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(),
            active_processes={jax.process_index()},
            barrier_sync_key_prefix=f"own{jax.process_index()}",
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=LatestN(max(keep, _KEEP)),
            cleanup_tmp_directories=not reading,
            create=False,  # orbax does not create the folder if only one process writes
            multiprocessing_options=alone,
        )
        self._whole, self._process, self._processes = folder.resolve(), process, processes
        self._folder, self._reading = _folder_of(self._whole, process), reading
        self._pending: int | None = None
        self._failed = False
        self._written: concurrent.futures.Future[None] | None = None
        if not reading:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, arrays: Any, record: dict) -> None:
        """Writes a checkpoint atomically, in the background. An existing one for `step` is not changed.

        If any process cannot write its part (a full disk), this is a warning, and earlier ones stay.

        Args:
          arrays: on the devices, or on the host; they are copied.

        Raises:
          UserError: processes hold parts of the arrays, but do not share the folder.
        """
        self.wait_for_parts()
        parts, key = 1, ""
        if self._processes > 1:
            parts = 1 + max(holders(arrays))
            seen = [_folder_of(self._whole, process).exists() for process in range(parts)]
            key = distributed.agree(secrets.token_hex())
            if not all(seen := distributed.agree(seen)):
                raise UserError(
                    f"--workdir: process 0 does not see the files of process {seen.index(False)} in "
                    f"{self._whole.parent}; processes that each hold a part of the state must share this folder"
                )
        self._pending = None
        if self._process >= parts or step in self._manager.all_steps():
            return
        self._pending = step
        self._written = _WRITER.submit(self._write, step, own_pieces(arrays), record, parts, key)

    def _write(self, step: int, named: dict[str, np.ndarray], record: dict, parts: int, key: str) -> None:
        part = {"parts": parts, "key": key}
        digest = _digest(named, record, part)
        sealed = {"record": record, "shapes": _shapes(named), "part": part, "digest": digest}
        items = ocp.args.Composite(arrays=ocp.args.StandardSave(named), record=ocp.args.JsonSave(sealed))
        self._manager.save(step, args=items)
        self._manager.wait_until_finished()

    def wait_for_parts(self) -> None:
        """Waits for pending writes of all processes, which call this together; a checkpoint that one of them could not
        write is deleted by all."""
        self._finish()
        if self._processes > 1 and distributed.largest(self._failed) and not self._failed and self._pending is not None:
            self._tell_unsaved(OSError("another process could not write its part"))
        self._failed = False

    def _finish(self) -> None:
        """Waits for pending writes."""
        written, self._written = self._written, None
        try:
            if written is not None:
                written.result()
        except Exception as error:  # orbax, tensorstore and the system each raise their own
            self._tell_unsaved(error)

    def _tell_unsaved(self, error: Exception) -> None:
        self._failed = True
        for leftover in self._folder.glob(f"*{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.rmtree(self._folder / str(self._pending), ignore_errors=True)
        self._manager.reload()
        kept = max(self._manager.all_steps(), default=None)
        logging.getLogger("rnnlab").warning(
            "checkpoint %s could not be saved (%s); %s; training continues",
            self._folder / str(self._pending),
            _reason(error),
            "none was saved before" if kept is None else f"the last one is that of step {kept}",
        )

    def steps(self) -> list[int]:
        """Lists the steps with checkpoints, including damaged ones."""
        self._finish()
        return list(self._manager.all_steps())

    def restore(self, like: Any, *, optional: str | None = None, before: int | None = None) -> Restored | None:
        """Returns the newest intact checkpoint, as in `newest`, of a step below `before` if given; None without one."""
        return next(self.newest(like, optional=optional, before=before), None)

    def newest(self, like: Any, *, optional: str | None = None, before: int | None = None) -> Iterator[Restored]:
        """Yields the intact checkpoints, newest first.

        Damaged ones are logged, moved to the folder `damaged` beside this one (unless `reading`), and skipped.

        Args:
          like: arrays of the shapes and types to restore.
          optional: field of `like` that may have other arrays than the checkpoint; missing arrays are taken from
            `like`, with a warning that names them.
          before: only steps below it.

        Raises:
          UserError: an intact checkpoint has other arrays than `like`.
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
        """Returns the whole arrays of a checkpoint by name, with its own names and shapes, and its record."""
        pieces, sealed = self._read_part(step)
        part = sealed.get("part", {"parts": 1})
        for process in range(1, part["parts"]):
            other = Checkpoints(self._whole, process=process, reading=True)
            try:
                own, own_sealed = other._read_part(step)
            finally:
                other.close()
            if own_sealed.get("part") != part:
                raise ValueError(f"the part of process {process} is of another checkpoint")
            pieces |= own
        return assemble(pieces), sealed["record"]

    def _read_part(self, step: int) -> tuple[dict[str, np.ndarray], dict]:
        """Returns the pieces of this process's part by name, and all that was stored with them."""
        sealed = self._manager.restore(step, args=ocp.args.Composite(record=ocp.args.JsonRestore())).record
        if sealed.keys() == {"record", "digest"}:
            raise UserError(f"checkpoint {self._folder / str(step)} was saved by an older version of rnnlab")
        abstract = {name: np.empty(shape, dtype) for name, (dtype, *shape) in sealed["shapes"].items()}
        named = self._manager.restore(step, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(abstract))).arrays
        if sealed["digest"] != _digest(named, sealed["record"], sealed.get("part")):
            raise ValueError("its contents do not match their digest")
        return named, sealed

    def _fitted(self, step: int, named: dict[str, np.ndarray], like: Any, optional: str | None) -> Any:
        """Returns the arrays in the structure of `like`."""
        wanted = named_arrays(like)
        found, needed = _shapes(named), _shapes(wanted)
        other = sorted(name for name in found.keys() | needed.keys() if found.get(name) != needed.get(name))
        folder, names = self._folder / str(step), ", ".join(other[:_SHOWN]) + (", ..." if len(other) > _SHOWN else "")
        if any(optional is None or name.split("/")[0] != optional for name in other):
            raise UserError(
                f"checkpoint {folder} is intact but of another model or another version of rnnlab: {names} "
                "differ; use another --workdir"
            )
        if other:
            logging.getLogger("rnnlab").warning(
                "checkpoint %s was saved with another %s: %s restart or are dropped; all else is restored",
                folder,
                optional,
                names,
            )
        kept = {name: wanted[name] if name in other else named[name] for name in wanted}
        return jax.tree.unflatten(jax.tree.structure(like), kept.values())

    def _set_aside(self, step: int, error: Exception) -> None:
        if self._reading:
            logging.getLogger("rnnlab").warning(
                "checkpoint %s is damaged (%s); skipped", self._folder / str(step), _reason(error)
            )
            return
        folder = self._folder.parent / "damaged"
        folder.mkdir(exist_ok=True)
        names = (f"{self._folder.name}-{step}.{n}" for n in itertools.count())
        aside = next(folder / name for name in names if not (folder / name).exists())
        logging.getLogger("rnnlab").warning(
            "checkpoint %s is damaged (%s); moved to %s, using the one before",
            self._folder / str(step),
            _reason(error),
            aside,
        )
        (self._folder / str(step)).rename(aside)
        self._manager.reload()

    def forget_after(self, step: int) -> list[int]:
        """Deletes the checkpoints of later steps, which will differ when reached again; returns their steps."""
        later = [found for found in self.steps() if found > step]
        for found in later:
            self._manager.delete(found)
        return later

    def keep_only(self, step: int) -> None:
        """Deletes all checkpoints except that of `step`, if that could be saved."""
        steps = self.steps()
        for other in [found for found in steps if found != step and step in steps]:
            self._manager.delete(other)

    def close(self) -> None:
        """Waits for pending writes, and ends Orbax's threads."""
        self._finish()
        self._manager.close()


def _folder_of(folder: pathlib.Path, process: int) -> pathlib.Path:
    return folder.parent / f"process_{process}" / folder.name if process else folder


def _hush_abandoned_reads(unraisable: Any) -> None:
    """Suppresses the stack traces of reads that orbax abandons when a checkpoint is damaged."""
    if "Event loop is closed" not in str(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)


def _reason(error: Exception) -> str:
    text = str(error)
    if "No space left" in text or "ENOSPC" in text:  # orbax buries this in a long message
        return "no space left on the device"
    return (text.strip() or type(error).__name__).splitlines()[0][:200]


def _shapes(named: dict[str, Any]) -> dict[str, list]:
    return {name: [str(leaf.dtype), *leaf.shape] for name, leaf in named.items()}


def _digest(named: dict[str, Any], record: dict, part: dict | None) -> str:
    """Returns the SHA-256 of every array's bytes, the record, and the key of the part, which older checkpoints lack."""
    state = hashlib.sha256(json.dumps(record if part is None else [record, part], sort_keys=True).encode())
    for name, leaf in sorted(named.items()):
        value = np.ascontiguousarray(leaf)
        state.update(f"{name} {value.dtype} {value.shape}".encode())
        state.update(value.tobytes())
    return state.hexdigest()
