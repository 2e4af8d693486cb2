"""The counting task by blocks with batch norm, and its config file."""

from flax import nnx

from rnnlab.config import field, make_config
from rnnlab.models import ManyToOne
from tests.tasks import counting

FIELDS = counting.FIELDS | {"experiment": field(f"{__file__}:Normed", "this task", own=True)}


def get_config():
    """A short run."""
    config = make_config(FIELDS)
    config.training.update({"steps": 12, "batch_size": 16, "log_every": 4, "measure_every": 0, "best_metric": "error"})
    config.training.update({"evaluate_every": 12, "checkpoint_every": 6, "schedule": "constant"})
    return config


class Normed(counting.Counting):
    """How often "a" stands in a word, by two blocks with batch norm."""

    fields = FIELDS

    def make_model(self):
        model = self.config.model
        sizes, options = (5, 7), {"layers": 2, "block": "prenorm", "norm": "batch", "dropout": 0.2}
        return ManyToOne(*sizes, cell=model.cell, features=model.features, rngs=nnx.Rngs(0), **options)
