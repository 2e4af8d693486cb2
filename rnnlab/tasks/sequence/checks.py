"""Checks of a config of sequences beyond the ranges of its fields."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from rnnlab.config import each_field, get_field
from rnnlab.errors import UserError
from rnnlab.models.pooling import POOLINGS
from rnnlab.tasks.sequence.config import FIELDS
from rnnlab.tasks.sequence.model import TOKENS


def check_best_metric(config: ConfigDict, allowed: Sequence[str]) -> None:
    """Refuses a best metric that is not one of the scores.

    Raises:
      UserError: names the scores.
    """
    if config.training.best_metric not in allowed:
        raise UserError(
            f"config.training.best_metric: {config.training.best_metric!r} is not a score of config.data.answer="
            f"{config.data.answer!r}; allowed: {', '.join(allowed)}"
        )


def check_used(config: ConfigDict) -> None:
    """Refuses values of fields that would have no effect.

    Raises:
      UserError: names the field.
    """
    data = config.data
    used = _used(config)
    for path, own in each_field(FIELDS):
        value = get_field(config, path)
        if value != own.default and not used.get(path, True):
            raise UserError(
                f"config.{path}: {value!r} has no effect with config.data.name={data.name!r} and "
                f"answer={data.answer!r}; omit it"
            )
    if config.model.pooling not in ("last", *POOLINGS):
        allowed = ", ".join(("last", *POOLINGS))
        raise UserError(f"config.model.pooling: unknown {config.model.pooling!r}; allowed: {allowed}")


def _used(config: ConfigDict) -> dict[str, bool]:
    """Returns whether something uses a field; fields that are always used are not included."""
    data = config.data
    tokens, forecast = data.name in TOKENS, data.answer == "forecast"
    table = data.name in ("csv", "mnist1d", "generated")  # for generated data, prediction reads a CSV
    classes = data.answer in ("class", "class_per_step")
    used = {
        "data.columns.inputs": table,
        "data.columns.answer": table and not forecast,
        "data.columns.sequence": table,
        "data.columns.time": table,
        "data.missing": not tokens,
        "data.standardise": not tokens,
        "data.tag_scheme": data.name == "tagged",
        "data.unit": data.name == "labelled_text",
        "data.lowercase": tokens,
        "data.normal_form": tokens,
        "data.min_count": tokens,
        "data.size": tokens and data.unit == "subword",
        "data.language": tokens and data.unit == "spacy",
        "data.buckets": not forecast,
        "data.permuted": not forecast,
        "data.chunk": not forecast,
        "data.rows": forecast,
        "model.embedding": tokens,
        "model.character_features": data.name == "tagged",
        "model.pooling": data.answer in ("class", "numbers"),
        "training.class_weights": classes,
        "training.label_smoothing": classes,
        "training.word_dropout": tokens,
        "training.input_noise": not tokens,
        "training.loss": forecast and not config.model.forecast.quantiles,
    }
    of_forecasts = [path for path, _ in each_field(FIELDS) if path.startswith("model.forecast.")]
    of_forecasts += [f"data.{name}" for name in ("look_back", "horizon", "period")]
    return used | dict.fromkeys(of_forecasts, forecast)


def check_order(config: ConfigDict) -> None:
    """Refuses a model that would read the answer of a step, if that is the next input.

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
