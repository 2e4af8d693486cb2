"""Synthetic problems with a known lag, generated on the fly: the same key gives the same batch.

Every problem has an answer at each step; `weights` mark the answers that count. Time-major.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rnnlab.extras import needs
from rnnlab.own import is_own, load_own

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

SPLITS = ("train", "test", "validation")
_Images = dict[str, tuple[np.ndarray, np.ndarray]]  # of each split: images `[number, side, side]`, classes `[number]`


class LagBatch(NamedTuple):
    """`inputs` are ids `[time, batch]`, or numbers `[time, batch, features]`; `labels` classes `[time, batch]`, or
    numbers of the same shape in a regression; `weights` `[time, batch]` are True where the answer counts."""

    inputs: Int[Array, "time batch"] | Float[Array, "time batch features"]
    labels: Int[Array, "time batch"] | Float[Array, "time batch"]
    weights: Bool[Array, "time batch"]


@dataclasses.dataclass(frozen=True, eq=False)
class LagProblem:
    """A problem at one length.

    Attributes:
      time: steps of a sequence.
      in_features: of a step; for ids, their number.
      out_features: classes, or 1 in a regression.
      floor: the loss of the best model without memory, in nats per answer or as a mean squared error.
      sample: `(data, key, batch, split) -> LagBatch`; splits share no draws or images.
      data: arrays to sample from, if sequences are not synthetic. A compiled program takes them as an argument, since
        arrays that it closes over become part of it.
      whole: `split -> LagBatch`, all sequences of a split, if their number is finite.
    """

    time: int
    in_features: int
    out_features: int
    floor: float
    sample: Callable[[Any, PRNGKeyArray, int, str], LagBatch]
    data: Any = None
    whole: Callable[[str], LagBatch] | None = None

    def draw(self, key: PRNGKeyArray, batch: int, split: str) -> LagBatch:
        """Draws a batch of `split`."""
        return self.sample(self.data, key, batch, split)

    @property
    def regression(self) -> bool:
        """Whether the answer is a number, scored by its squared error, instead of a class."""
        return self.out_features == 1


def _last(values: Array, time: int) -> tuple[Array, Array]:
    """Returns labels and weights of an answer `[batch]` that counts only at the last step."""
    labels = jnp.zeros((time, *values.shape), values.dtype).at[-1].set(values)
    return labels, jnp.zeros(labels.shape, bool).at[-1].set(True)


def generated(make: Callable[[PRNGKeyArray, int], LagBatch]) -> Callable[[Any, PRNGKeyArray, int, str], LagBatch]:
    """Makes the `sample` of a problem from `(key, batch) -> LagBatch`: every split has its own draws."""

    def sample(_: Any, key: PRNGKeyArray, batch: int, split: str) -> LagBatch:
        return make(jax.random.fold_in(key, SPLITS.index(split)), batch)

    return sample


def adding(lag: int) -> LagProblem:
    """The sum of two marked numbers, one in each half (Hochreiter and Schmidhuber 1997, as in Arjovsky et al. 2016).

    Inputs are numbers from 0 to 1 beside marks 0 or 1. A predictor that always answers 1 has a mean squared error of
    1/6, the variance of a sum.
    """
    _check_lag(lag, 2)

    def sample(key: PRNGKeyArray, batch: int) -> LagBatch:
        values_key, first_key, second_key = jax.random.split(key, 3)
        values = jax.random.uniform(values_key, (lag, batch))
        first = jax.random.randint(first_key, (batch,), 0, lag // 2)
        second = jax.random.randint(second_key, (batch,), lag // 2, lag)
        steps = jnp.arange(lag)[:, None]
        marks = (steps == first) | (steps == second)
        return LagBatch(jnp.stack([values, marks], axis=-1), *_last((values * marks).sum(0), lag))

    return LagProblem(lag, 2, 1, 1 / 6, generated(sample))


def copy_memory(lag: int) -> LagProblem:
    """Ten symbols out of eight, `lag` blanks, a delimiter, and the ten again (Hochreiter and Schmidhuber 1997, as in
    Arjovsky, Shah and Bengio 2016, arXiv 1511.06464).

    Without memory the blanks are right and each of the ten costs ln 8: 10 ln 8 / (lag + 20) per step.
    """
    _check_lag(lag, 1)
    symbols, number, blank, sign = 8, 10, 8, 9
    time = lag + 2 * number

    def sample(key: PRNGKeyArray, batch: int) -> LagBatch:
        shown = jax.random.randint(key, (number, batch), 0, symbols)
        blanks = jnp.full((time, batch), blank, shown.dtype)
        inputs = blanks.at[:number].set(shown).at[-number - 1].set(sign)
        return LagBatch(inputs, blanks.at[-number:].set(shown), jnp.ones((time, batch), bool))

    return LagProblem(time, 10, 10, number * math.log(symbols) / time, generated(sample))


def temporal_order(lag: int) -> LagProblem:
    """Which of X and Y was at two places among four other symbols, in order: four classes (task 6a of Hochreiter and
    Schmidhuber 1997; places from 1/10 to 2/10 and from 5/10 to 6/10 of the time, as in Pascanu et al. 2013)."""
    _check_lag(lag, 10)

    def sample(key: PRNGKeyArray, batch: int) -> LagBatch:
        others_key, relevant_key, *place_keys = jax.random.split(key, 4)
        inputs = jax.random.randint(others_key, (lag, batch), 0, 4)
        relevant = jax.random.randint(relevant_key, (2, batch), 0, 2)
        for place_key, tenths, symbol in zip(place_keys, (1, 5), relevant, strict=True):
            place = jax.random.randint(place_key, (batch,), tenths * lag // 10, (tenths + 1) * lag // 10)
            inputs = inputs.at[place, jnp.arange(batch)].set(4 + symbol)
        return LagBatch(inputs, *_last(2 * relevant[0] + relevant[1], lag))

    return LagProblem(lag, 6, 4, math.log(4), generated(sample))


def parity(lag: int) -> LagProblem:
    """Whether the number of ones among `lag` bits is odd; with a single bit unseen the answer is random."""
    _check_lag(lag, 1)

    def sample(key: PRNGKeyArray, batch: int) -> LagBatch:
        bits = jax.random.randint(key, (lag, batch), 0, 2)
        return LagBatch(bits, *_last(bits.sum(0) % 2, lag))

    return LagProblem(lag, 2, 2, math.log(2), generated(sample))


def associative_recall(lag: int, *, pairs: int = 4, vocabulary: int = 64, power: float = 0.01) -> LagProblem:
    """Multi-query associative recall (Arora et al. 2023, arXiv 2312.04927): keys and values, then the keys again, each
    to be answered by its value.

    Args:
      lag: total steps; the pairs take the first `2 * pairs`, queries follow at every second step at most.
      pairs: keys to remember; in the paper 4 at 64 steps up to 64 at 512.
      vocabulary: half of it keys, half values; in the paper 8192.
      power: of the law by which queries thin out over time.

    Raises:
      ValueError: pairs that do not fit into the time or into the vocabulary.
    """
    if not 0 < 4 * pairs <= lag or not 2 * pairs <= vocabulary:
        raise ValueError(
            f"associative_recall: {pairs} pairs (at least 1) need at least {4 * pairs} steps and a vocabulary of "
            f"{2 * pairs}, not {lag} and {vocabulary}"
        )
    places = (lag - 2 * pairs) // 2
    odds = np.arange(1, places + 1) ** (power - 1.0)
    half = vocabulary // 2

    def sample_one(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        keys_key, values_key, places_key, others_key = jax.random.split(key, 4)
        keys = jax.random.choice(keys_key, half, (pairs,), replace=False)
        values = half + jax.random.choice(values_key, half, (pairs,), replace=False)
        chosen = 2 * pairs + 2 * jax.random.choice(places_key, places, (pairs,), replace=False, p=odds / odds.sum())
        inputs = jax.random.randint(others_key, (lag,), half, vocabulary)  # only values, which cannot be queries
        inputs = inputs.at[: 2 * pairs].set(jnp.stack([keys, values], axis=1).reshape(-1)).at[chosen].set(keys)
        labels = jnp.zeros((lag,), inputs.dtype).at[chosen].set(values)
        return inputs, labels, jnp.zeros((lag,), bool).at[chosen].set(True)

    def sample(key: PRNGKeyArray, batch: int) -> LagBatch:
        return LagBatch(*jax.vmap(sample_one, out_axes=1)(jax.random.split(key, batch)))

    return LagProblem(lag, vocabulary, vocabulary, math.log(half), generated(sample))


def wave(lag: int, *, period: int = 20, decay: float = 0.99) -> LagProblem:
    """The next value of a noisy wave of variance 1, a pendulum that is pushed at random (Yule 1927), at every step:

        y_t = 2 decay cos(2 pi / period) y_{t-1} - decay^2 y_{t-2} + noise.

    The best answer uses the two previous values; from a single one the error is 1 minus the squared correlation of
    neighbours.

    Args:
      lag: total steps.
      period: of the wave, in steps.
      decay: of its amplitude per step: its regularity.

    Raises:
      ValueError: a period below 3, or a decay outside of 0 to 1.
    """
    _check_lag(lag, 1)
    if period < 3 or not 0 < decay < 1:
        raise ValueError(f"wave: the period must be at least 3 and the decay between 0 and 1, not {period} and {decay}")
    first, second = 2 * decay * math.cos(2 * math.pi / period), -(decay**2)
    neighbours = first / (1 - second)  # their correlation
    noise = math.sqrt((1 + second) * ((1 - second) ** 2 - first**2) / (1 - second))

    def sample(key: PRNGKeyArray, batch: int) -> LagBatch:
        normal = jax.random.normal(key, (lag + 1, batch))
        before = jax.random.normal(jax.random.fold_in(key, 0), (batch,))
        start = before, neighbours * before + math.sqrt(1 - neighbours**2) * normal[0]

        def step(last, pushed):
            after = first * last[1] + second * last[0] + noise * pushed
            return (last[1], after), after

        values = jnp.concatenate([start[1][None], jax.lax.scan(step, start, normal[1:])[1]])
        return LagBatch(values[:-1, :, None], values[1:], jnp.ones((lag, batch), bool))

    return LagProblem(lag, 1, 1, 1 - neighbours**2, generated(sample))


def digits(lag: int) -> LagProblem:
    """The 1,797 handwritten digits of scikit-learn (UCI optdigits), 8 x 8 pixels from 0 to 1: row by row in 8 steps, or
    pixel by pixel in 64. Of every six images one is in the test split, one in validation.

    Raises:
      ValueError: another `lag` than 8 or 64.
    """
    return _image_problem("digits", 8, lag, _load_digits)


def mnist(lag: int, *, prepared: str = "") -> LagProblem:
    """The handwritten digits of LeCun et al. 1998 with their own test split, through TFDS, 28 x 28 pixels from 0 to 1:
    row by row in 28 steps, or pixel by pixel in 784 (Le, Jaitly and Hinton 2015). Every sixth image of the training
    split is in validation.

    Args:
      prepared: folder for TFDS's files; empty is TFDS's own choice.

    Raises:
      ValueError: another `lag` than 28 or 784.
      UserError: the dataset cannot be reached.
    """
    return _image_problem("mnist", 28, lag, functools.partial(_load_mnist, prepared))


def _image_problem(name: str, side: int, lag: int, load: Callable[[], _Images]) -> LagProblem:
    if lag not in (side, side**2):
        raise ValueError(f"{name}: a lag of {lag} is not one of {side} (row by row) and {side**2} (pixel by pixel)")
    data = {
        split: (jnp.asarray(images.reshape(len(images), lag, -1)), jnp.asarray(classes))
        for split, (images, classes) in load().items()
    }

    def sample(data: Any, key: PRNGKeyArray, batch: int, split: str) -> LagBatch:
        sequences, classes = data[split]
        chosen = jax.random.randint(key, (batch,), 0, len(classes))
        return LagBatch(sequences[chosen].transpose(1, 0, 2), *_last(classes[chosen], lag))

    def whole(split: str) -> LagBatch:
        sequences, classes = data[split]
        return LagBatch(sequences.transpose(1, 0, 2), *_last(classes, lag))

    return LagProblem(lag, side**2 // lag, 10, math.log(10), sample, data, whole)


@functools.cache
def _load_digits() -> _Images:
    with needs("lab", "problem 'digits'"):
        from sklearn.datasets import load_digits
    data = load_digits()
    images, classes = (data.images / 16).astype(np.float32), data.target.astype(np.int32)
    sixth = np.arange(len(images)) % 6
    chosen = {"train": sixth < 4, "validation": sixth == 4, "test": sixth == 5}
    return {split: (images[rows], classes[rows]) for split, rows in chosen.items()}


@functools.cache
def _load_mnist(prepared: str) -> _Images:
    with needs("lab", "problem 'mnist'"):
        import tensorflow_datasets as tfds

        from rnnlab.data.prepared import open_prepared

    def make(folder: str) -> "DatasetBuilder":
        builder = tfds.builder("mnist", data_dir=folder, file_format="array_record")
        encode_by_pillow(builder)
        return builder

    builder = open_prepared("problem", "mnist", prepared, make)
    found = {}
    for split in ("train", "test"):
        source = builder.as_data_source(split)
        rows = source.__getitems__(list(range(len(source))))
        images = np.stack([row["image"][..., 0] for row in rows]).astype(np.float32) / 255
        found[split] = images, np.array([row["label"] for row in rows], np.int32)
    images, classes = found["train"]
    held_out = np.arange(len(images)) % 6 == 5
    found["train"] = images[~held_out], classes[~held_out]
    return found | {"validation": (images[held_out], classes[held_out])}


def encode_by_pillow(builder: "DatasetBuilder") -> None:
    """Makes a builder of gray images write them with Pillow instead of TensorFlow."""
    from PIL import Image

    generate = builder._generate_examples

    def generate_for_pillow(*args: Any, **options: Any) -> Iterator[tuple[Any, dict]]:
        for key, row in generate(*args, **options):
            yield key, row | {"image": Image.fromarray(row["image"].squeeze(-1))}

    builder._generate_examples = generate_for_pillow


def _check_lag(lag: int, least: int) -> None:
    if lag < least:
        raise ValueError(f"a lag of {lag} is too short for this problem; it must be at least {least}")


LAG_PROBLEMS: dict[str, Callable[..., LagProblem]] = {
    "adding": adding,
    "copy_memory": copy_memory,
    "temporal_order": temporal_order,
    "parity": parity,
    "associative_recall": associative_recall,
    "wave": wave,
    "digits": digits,
    "mnist": mnist,
}


def find_problem(text: str) -> Callable[[int], LagProblem]:
    """Finds a problem by its name, with its options ("wave:period=10,decay=0.9"), for any lag.

    The user's own problem is a function like those here, "file.py:NAME" or "file.py:NAME,period=10".

    Raises:
      ValueError: an unknown problem, an unknown or repeated option, or a value of another type; lags are checked by the
        problem itself.
    """
    if text.partition(":")[0] in LAG_PROBLEMS:
        text = text.replace(":", ",", 1)
    name, *options = text.split(",")
    if not is_own(name) and name not in LAG_PROBLEMS:
        allowed = ", ".join(LAG_PROBLEMS)
        raise ValueError(f"unknown problem {name!r}; allowed: {allowed}, file.py:NAME, or file.py:NAME,option=value")
    make = load_own(name) if is_own(name) else LAG_PROBLEMS[name]
    if not callable(make):
        raise ValueError(f"{name!r} is not a function from a lag to a LagProblem")
    chosen = _read_options(name, options, inspect.signature(make))
    return lambda lag: make(lag, **chosen)


_KINDS: dict[type, Callable[[str], Any]] = {
    bool: lambda value: {"true": True, "false": False}[value.lower()],
    int: int,
    float: float,
    str: str,
}


def _read_options(name: str, options: Sequence[str], signature: inspect.Signature) -> dict[str, Any]:
    """Parses options by name, with the types of their defaults."""
    defaults = {p.name: p.default for p in signature.parameters.values() if type(p.default) in _KINDS}
    chosen: dict[str, Any] = {}
    for option in options:
        field, equals, value = option.partition("=")
        if field not in defaults:
            allowed = f"allowed: {', '.join(defaults)}" if defaults else "it has no options"
            raise ValueError(f"unknown option {field!r} of {name}; {allowed}")
        if not equals or field in chosen:
            raise ValueError(f"option {field!r} of {name}: write {field}=value, once")
        kind = type(defaults[field])
        try:
            chosen[field] = _KINDS[kind](value)
        except (ValueError, KeyError):
            raise ValueError(f"{field}={value!r} of {name} is not of type {kind.__name__}") from None
    return chosen
