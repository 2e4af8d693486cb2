"""Operations on examples of any format: holding out a validation split, a digest, and the step orders of sequential
MNIST."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from rnnlab.data.sequences.examples import Examples, counted, select
from rnnlab.errors import UserError


def held_out(examples: Examples, share: float) -> tuple[Examples, Examples]:
    """Splits off a share of the examples for validation: those with the smallest hashes of their inputs.

    It does not depend on the order of the examples, and examples with the same inputs fall into the same split. A
    class, or a label of a step, keeps at least one example in training.

    Returns:
      Training and validation, each in the order of `examples`.

    Raises:
      UserError: one of them would be empty.
    """
    number = len(examples.inputs)
    same: dict[bytes, list[int]] = {}
    for i in range(number):
        same.setdefault(_hash_inputs(examples, i), []).append(i)
    wanted = max(1, round(share * number))
    left = Counter(label for i in range(number) for label in _labels(examples, i))
    taken: set[int] = set()
    for most in (
        min(wanted, number - 1),
        number - 1,
    ):  # more than requested only if all inputs occur more often than that
        for group in (same[key] for key in sorted(same)):
            lost = Counter(label for i in group for label in _labels(examples, i))
            if len(taken) + len(group) <= most and all(left[label] > lost[label] for label in lost):
                taken.update(group)
                left -= lost
            if len(taken) >= wanted:
                break
        if taken:
            break
    if not taken:
        raise UserError(
            f"{examples.places(0)}: too few different examples ({len(same):,} of {number:,}) to hold some out for "
            f"validation; give --config.data.files.validation{_if_single(examples)}"
        )
    sides = ([i for i in range(number) if (i in taken) is held] for held in (False, True))
    train, validation = (select(examples, side) for side in sides)
    return train, validation


def _if_single(examples: Examples) -> str:
    """Returns a hint if there is only one example."""
    if len(examples.inputs) > 1:
        return ""
    return ", or, of a CSV, --config.data.columns.sequence, the column that names the sequence of a row"


def _labels(examples: Examples, i: int) -> set[str]:
    answer = examples.answers[i] if examples.answers is not None else ()
    if isinstance(answer, str):
        return {answer}
    return set(answer) if isinstance(answer, tuple) else set()


def _hash_inputs(examples: Examples, i: int) -> bytes:
    """Hashes the inputs of a model: numbers are rounded to float32."""
    inputs = examples.inputs[i]
    parts = [inputs.astype(np.float32, copy=False) if isinstance(inputs, np.ndarray) else inputs]
    parts += [] if examples.dt is None else [examples.dt[i]]
    hashed = hashlib.blake2b(digest_size=16)
    for piece in _pieces(parts):
        hashed.update(piece)
    return hashed.digest()


def digest(examples: Examples) -> str:
    """Returns the SHA-256 of inputs, answers and times: if it is equal, so are the examples and their order."""
    hashed = hashlib.sha256()
    for column in (examples.inputs, examples.answers, examples.dt):
        hashed.update(b"none" if column is None else str(len(column)).encode())
        for piece in _pieces(column or ()):
            hashed.update(piece)
    return hashed.hexdigest()


def _pieces(values: Iterable[Any]) -> Iterable[bytes]:
    """Yields bytes that determine the values."""
    for value in values:
        if isinstance(value, np.ndarray):
            yield f"{value.dtype.str}{value.shape}".encode()
            yield value.tobytes()
        else:
            texts = (value,) if isinstance(value, str) else value
            yield repr((isinstance(value, str), texts)).encode()


def every_nth(examples: Examples, n: int) -> tuple[Examples, Examples]:
    """Splits off every n-th example, numbers n, 2n ... counted from 1, as a test split.

    Returns:
      Training and test.

    Raises:
      UserError: one of them would be empty.
    """
    indices = range(len(examples.inputs))
    test = [i for i in indices if (i + 1) % n == 0]
    train = [i for i in indices if (i + 1) % n]
    if not test or not train:
        raise UserError(
            f"config.data.test_every: {n} is not allowed with {counted(len(indices), 'example')} "
            f"({examples.places(0)} ...); it must be from 2 to their number{_if_single(examples)}"
        )
    return select(examples, train), select(examples, test)


def permute_steps(examples: Examples, seed: int) -> Examples:
    """Puts the steps of all sequences into one order, drawn by `seed`, as of permuted MNIST (Le et al. 2015).

    The order is `numpy.random.RandomState(seed).permutation(steps)`, which NumPy guarantees never to change.

    Raises:
      UserError: sequences of different lengths, times, or an answer for each step.
    """
    _check_whole(examples, "config.data.permuted")
    steps = len(examples.inputs[0])
    for i, sequence in enumerate(examples.inputs):
        if len(sequence) != steps:
            raise UserError(
                f"{examples.places(i)}: {counted(len(sequence), 'step')}; config.data.permuted needs as many "
                f"in all sequences, and {examples.places(0)} has {steps}"
            )
    order = np.random.RandomState(seed).permutation(steps)
    return examples._replace(inputs=[sequence[order] for sequence in examples.inputs])


def chunk_steps(examples: Examples, size: int) -> Examples:
    """Joins `size` steps into one: `[steps, features]` to `[steps / size, size * features]`, such as pixels to rows.

    Raises:
      UserError: a sequence whose steps are not a multiple of `size`, times, or an answer for each step.
    """
    _check_whole(examples, "config.data.chunk")
    for i, sequence in enumerate(examples.inputs):
        if not len(sequence) or len(sequence) % size:
            raise UserError(
                f"{examples.places(i)}: {counted(len(sequence), 'step')}; config.data.chunk={size} "
                f"needs a multiple of {size}"
            )
    return examples._replace(
        inputs=[sequence.reshape(len(sequence) // size, -1) for sequence in examples.inputs],
        names=tuple(f"{name} {step}" for step in range(1, size + 1) for name in examples.names),
    )


def _check_whole(examples: Examples, what: str) -> None:
    if not isinstance(examples.inputs[0], np.ndarray):
        raise UserError(f"{examples.places(0)}: {what} needs sequences of numbers, not text")
    if examples.dt is not None:
        raise UserError(f"{examples.places(0)}: {what} needs steps without times")
    if examples.answers is not None and (
        isinstance(examples.answers[0], tuple) or len(np.shape(examples.answers[0])) == 2
    ):
        raise UserError(f"{examples.places(0)}: {what} needs one answer per sequence, not one per step")
