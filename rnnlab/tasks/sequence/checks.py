"""What a config of sequences must fulfil beyond the ranges of its fields."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from rnnlab.config import get_field
from rnnlab.errors import UserError
from rnnlab.models.pooling import POOLINGS
from rnnlab.tasks.sequence.model import TOKENS


def check_best_metric(config: ConfigDict, allowed: Sequence[str]) -> None:
    """Refuses a best metric that is none of the scores.

    Raises:
      UserError: names them.
    """
    if config.training.best_metric not in allowed:
        raise UserError(
            f"config.training.best_metric: {config.training.best_metric!r} is no score of config.data.answer="
            f"{config.data.answer!r}; allowed: {', '.join(allowed)}"
        )


def check_used(config: ConfigDict) -> None:
    """Refuses values of fields that would do nothing.

    Raises:
      UserError: names the field.
    """
    tokens, data, training = config.data.name in TOKENS, config.data, config.training
    classes = data.answer in ("class", "class_per_step")
    unused = {
        "training.class_weights": training.class_weights and not classes,
        "training.label_smoothing": training.label_smoothing and not classes,
        "training.word_dropout": training.word_dropout and not tokens,
        "training.input_noise": training.input_noise and tokens,
        "model.character_features": config.model.character_features and data.name != "tagged",
    }
    for path, found in unused.items():
        if found:
            raise UserError(
                f"config.{path}: {get_field(config, path)!r} has no effect with config.data.name={data.name!r} and "
                f"answer={data.answer!r}; leave it out"
            )
    if config.model.pooling not in ("last", *POOLINGS):
        allowed = ", ".join(("last", *POOLINGS))
        raise UserError(f"config.model.pooling: unknown {config.model.pooling!r}; allowed: {allowed}")


def check_order(config: ConfigDict) -> None:
    """Refuses a model that would read the answer of a step, where that is the next input.

    Raises:
      UserError: names the field.
    """
    if config.data.name != "piano_roll":
        return
    model = config.model
    for name, reads_on in (("bidirectional", model.bidirectional), ("norm", model.norm == "batch")):
        if reads_on:
            raise UserError(
                f"config.model.{name}: {model[name]!r} is not allowed with config.data.name='piano_roll', where the "
                "answer of a step is the next step"
            )
