"""The counting task with a recurrent state that is carried from batch to batch, and its config file."""

import jax
import jax.numpy as jnp

from rnnlab.config import field, make_config
from rnnlab.tasks.base import Loss
from tests.tasks import counting

FIELDS = counting.FIELDS | {"experiment": field(f"{__file__}:Carrying", "this task", own=True)}


def get_config():
    """A short run."""
    config = make_config(FIELDS)
    config.training.update({"steps": 20, "batch_size": 16, "log_every": 5, "measure_every": 0, "best_metric": "error"})
    config.training.update({"evaluate_every": 20, "checkpoint_every": 10, "schedule": "constant"})
    return config


class Carrying(counting.Counting):
    """How often "a" stands in a word, by a state that the word before in the same row left."""

    fields = FIELDS

    def start_carry(self, model, rows):
        return model.stack.initial_states(rows)

    def loss(self, model, batch, carry, *, rngs, step):
        ids, lengths, labels = batch
        _, states = model.stack(ids, carry, seq_lengths=lengths)
        logits = model.output(states[-1][0])
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
        mean = jnp.mean(jax.tree.leaves(carry)[0])
        return Loss(-picked.sum(), jnp.float32(len(labels)), jax.lax.stop_gradient(states), {"carried": mean})
