"""The pieces of sharded arrays that a process holds: what it writes to a checkpoint."""

from typing import Any

import jax
import numpy as np

_AT = "@"  # in the name of a piece, between that of its array and where it lies


def named_arrays(arrays: Any) -> dict[str, Any]:
    """Returns the arrays by their path within a pytree, such as "optimizer/1/0/count"."""
    flat = jax.tree_util.tree_flatten_with_path(arrays)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def holders(arrays: Any) -> set[int]:
    """Returns the processes that hold the first copy of a piece of any array."""
    leaves = (leaf for leaf in jax.tree.leaves(arrays) if isinstance(leaf, jax.Array))
    return {0} | {shard.device.process_index for leaf in leaves for shard in leaf.global_shards if not shard.replica_id}


def own_pieces(arrays: Any) -> dict[str, np.ndarray]:
    """Copies the pieces to the host of which this process holds the first copy, by their names.

    A piece of an array that is not whole is named by its array and its range on each axis: "params/W@0:4,0:16".
    """
    pieces = {}
    for name, leaf in named_arrays(arrays).items():
        if not isinstance(leaf, jax.Array):
            pieces[name] = np.array(leaf)
            continue
        for shard in leaf.addressable_shards:
            if not shard.replica_id:
                pieces[name + _place(shard.index, leaf.shape)] = np.array(shard.data)
    return pieces


def _place(index: tuple[slice, ...], shape: tuple[int, ...]) -> str:
    ranges = [own.indices(size)[:2] for own, size in zip(index, shape, strict=True)]
    if all(own == (0, size) for own, size in zip(ranges, shape, strict=True)):
        return ""
    return _AT + ",".join(f"{start}:{stop}" for start, stop in ranges)


def assemble(pieces: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns whole arrays by name, from all of their pieces.

    Raises:
      ValueError: a piece is missing.
    """
    whole: dict[str, np.ndarray] = {}
    places: dict[str, list[tuple[tuple[slice, ...], np.ndarray]]] = {}
    for name, piece in pieces.items():
        of, at, place = name.rpartition(_AT)
        if not at:
            whole[name] = piece
            continue
        index = tuple(slice(*map(int, own.split(":"))) for own in place.split(","))
        places.setdefault(of, []).append((index, piece))
    for name, own in places.items():
        shape = tuple(max(index[axis].stop for index, _ in own) for axis in range(own[0][1].ndim))
        whole[name] = np.empty(shape, own[0][1].dtype)
        if sum(piece.size for _, piece in own) != whole[name].size:
            raise ValueError(f"a piece of {name} is missing")
        for index, piece in own:
            whole[name][index] = piece
    return whole
