"""A user's task, and its config file: how often the letter "a" occurs in a word."""

import random

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.config import POSITIVE, field, make_config
from rnnlab.models import ManyToOne
from rnnlab.tasks.base import Loss, Predictor, Task
from rnnlab.training.config import EVALUATION, TRAINING
from rnnlab.training.step import split_model

_LETTERS, _MOST, _TIME = "abcd", 4, 6
FIELDS = {
    "experiment": field(f"{__file__}:Counting", "this task", own=True),
    "seed": field(0, "of everything that is drawn"),
    "data": {"words": field(256, "in training", POSITIVE)},
    "model": {"cell": field("gru", "a name or file.py:NAME", own=True), "features": field(16, "units", POSITIVE)},
    "training": TRAINING,
    "evaluation": EVALUATION,
}


def get_config():
    """A config that learns it in seconds."""
    config = make_config(FIELDS)
    config.training.update({"steps": 200, "batch_size": 32, "evaluate_every": 100, "checkpoint_every": 50})
    config.training.update({"log_every": 50, "learning_rate": 0.02, "measure_every": 100, "best_metric": "error"})
    return config


def encode(words):
    """Ids `[time, batch]`, 0 in the padding, and lengths `[batch]`."""
    ids = np.zeros((_TIME, len(words)), np.int32)
    for column, word in enumerate(words):
        ids[: len(word), column] = [1 + _LETTERS.find(letter) for letter in word]
    return ids, np.array([len(word) for word in words], np.int32)


class Batches:
    """Words drawn anew by the number of the batch."""

    def __init__(self, task, seed, process, processes):
        self.rows, self._number = [], 0
        self._task, self._seed, self._share = task, seed, (process, processes)
        self._words = task.words("train")

    def __next__(self):
        self._number, size = self._number + 1, self._task.config.training.batch_size
        rng, (process, processes) = random.Random(f"{self._seed} {self._number}"), self._share
        self.rows = rng.sample(range(self._task.config.data.words), size)
        mine = self.rows[process * size // processes : (process + 1) * size // processes]
        words = [self._words[row] for row in mine]
        return *encode(words), np.array([word.count("a") for word in words], np.int32)

    def get_state(self):
        return {"number": self._number}

    def set_state(self, state):
        self._number = state["number"]


class Counting(Task):
    """How often "a" stands in a word, as a class."""

    fields, unit, splits = FIELDS, "words", ("train", "validation", "test")

    def words(self, split):
        rng, number = random.Random(split), self.config.data.words if split == "train" else 100
        return ["".join(rng.choices(_LETTERS, k=rng.randint(1, _TIME))) for _ in range(number)]

    def make_model(self):
        rngs, sizes = nnx.Rngs(self.config.seed), (len(_LETTERS) + 1, _TIME + 1)
        return ManyToOne(*sizes, cell=self.config.model.cell, features=self.config.model.features, rngs=rngs)

    def longest(self):
        return _TIME

    def batches(self, *, seed, process, processes):
        return Batches(self, seed, process, processes)

    def loss(self, model, batch, carry, *, rngs, step):
        ids, lengths, labels = batch
        picked = jnp.take_along_axis(jax.nn.log_softmax(model(ids, lengths, rngs=rngs)), labels[:, None], 1)
        return Loss(-picked.sum(), jnp.float32(len(labels)), carry)

    def probe(self, split):
        words = [word for word in self.words(split) if len(word) == _TIME][:4]
        return *encode(words), np.array([word.count("a") for word in words], np.int32)

    def describe(self, rows):
        return ", ".join(self.words("train")[row] for row in rows[:3])

    def answer(self, params, words):
        ids, lengths = encode(words)
        return np.asarray(split_model(self.sketch)[0](params)(jnp.asarray(ids), jnp.asarray(lengths))).argmax(-1)

    def evaluator(self, *, final):
        def scores(params, split):
            words = self.words(split)
            wrong = self.answer(params, words) != [word.count("a") for word in words]
            return {"loss": float(wrong.mean()), "error": 100 * float(wrong.mean())}

        return scores

    def predictor(self, params):
        return Answers(self, params)


class Answers(Predictor):
    """A number for each word."""

    def __init__(self, task, params):
        self._task, self._params = task, params

    def __call__(self, lines, first):
        return [str(n) for n in self._task.answer(self._params, [line.decode().strip() for line in lines])]
