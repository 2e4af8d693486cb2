"""Checkpoints by Orbax, each with a digest of its contents, so that a damaged one is noticed and passed over."""

import hashlib
import itertools
import json
import logging
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import LatestN

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
    """

    def __init__(self, folder: pathlib.Path, *, keep: int = _KEEP):
        options = ocp.CheckpointManagerOptions(
            preservation_policy=LatestN(max(keep, _KEEP)),
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        self._folder = folder.resolve()
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, arrays: Any, record: dict) -> None:
        """Writes a checkpoint whole or not at all. One that is there already for `step` is left as it is."""
        if step in self._manager.all_steps():
            return
        sealed = {"record": record, "digest": _digest(arrays, record)}
        items = ocp.args.Composite(arrays=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(sealed))
        self._manager.save(step, args=items)

    def restore(self, like: Any) -> Restored | None:
        """The newest whole checkpoint, as `newest` finds it; None if there is none."""
        return next(self.newest(like), None)

    def newest(self, like: Any) -> Iterator[Restored]:
        """The whole checkpoints, newest first.

        Damaged ones are told of on stderr, moved to the folder `damaged` beside this one, and passed over.

        Args:
          like: arrays of the shapes and types to restore.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
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
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        folder = self._folder.parent / "damaged"
        folder.mkdir(exist_ok=True)
        names = (f"{self._folder.name}-{step}.{n}" for n in itertools.count())
        aside = next(folder / name for name in names if not (folder / name).exists())
        logging.getLogger("rnnlab").warning(
            "checkpoint %s is damaged (%s); moved to %s, going on from the one before",
            self._folder / str(step),
            reason,
            aside,
        )
        (self._folder / str(step)).rename(aside)
        self._manager.reload()

    def close(self) -> None:
        """Ends Orbax's threads."""
        self._manager.close()


def _digest(arrays: Any, record: dict) -> str:
    """SHA-256 over every array's bytes and the record."""
    state = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
        value = np.ascontiguousarray(jax.device_get(leaf))
        state.update(f"{jax.tree_util.keystr(path)} {value.dtype} {value.shape}".encode())
        state.update(value.tobytes())
    return state.hexdigest()
