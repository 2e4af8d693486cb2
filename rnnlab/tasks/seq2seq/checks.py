"""Finds and checks the metrics of a config."""

import difflib

from ml_collections import ConfigDict

from rnnlab.data.vocabulary import Reading
from rnnlab.errors import UserError
from rnnlab.metrics import FREE_RUNNING, LOSSES, METRICS, Metric, bleu, bleu_by, bleu_tokenizers, find_metric, score
from rnnlab.own import absolute_own, is_own, name_of_own
from rnnlab.tasks.seq2seq.config import metric_names

_FIELD = "config.evaluation.metrics"
_TAKEN = {*LOSSES, *METRICS, "split", "examples"}  # names of scores


def find_metrics(config: ConfigDict) -> dict[str, Metric]:
    """Finds the metrics of a config, by their names in the scores.

    Raises:
      UserError: an unknown metric, or the user's own code cannot be imported or is not a metric.
    """
    known = METRICS | {"bleu": bleu_by(config.evaluation.bleu_tokenizer)}
    names = [name for name in metric_names(config) if name != FREE_RUNNING]
    try:
        return {name_of_own(name): find_metric(name, known) for name in names}
    except ValueError as error:
        raise UserError(f"{_FIELD}: {error}") from None


def check_best_metric(config: ConfigDict) -> None:
    """Refuses a best metric that is not computed.

    Raises:
      UserError: names the nearest one.
    """
    names, metric = metric_names(config), config.training.best_metric
    allowed = ("loss", "perplexity", *map(name_of_own, names))
    if metric not in allowed and absolute_own(metric) not in map(absolute_own, names):
        wanted = difflib.get_close_matches(metric, allowed, 1)
        hint = f" (did you mean {wanted[0]!r}?)" if wanted else ""
        raise UserError(f"config.training.best_metric: unknown {metric!r}{hint}; allowed: {', '.join(allowed)}")


def check_metrics(config: ConfigDict) -> None:
    """Refuses metrics that do not exist or fail.

    Raises:
      UserError: an unknown metric or BLEU tokenizer, one with missing packages, or the user's own object is not a
        metric, cannot score a single text, or has the name of another score.
    """
    field, tokenizer = "config.evaluation.bleu_tokenizer", config.evaluation.bleu_tokenizer
    if tokenizer not in bleu_tokenizers():
        raise UserError(f"{field}: unknown {tokenizer!r}; allowed: {', '.join(bleu_tokenizers())}")
    metrics = find_metrics(config)
    for name in filter(is_own, metric_names(config)):
        _check_name(name, metric_names(config))
        _try(name, metrics[name_of_own(name)])
    if "bleu" in metrics:
        try:
            bleu(["a"], [["a"]], tokenizer=tokenizer)
        except Exception as error:  # each tokenizer needs its own package or download, and fails in its own way
            raise UserError(f"{field}: {tokenizer!r} cannot be used here: {error}") from None


def _check_name(own: str, names: list[str]) -> None:
    """Refuses the user's own metric if its name is that of another score."""
    name = name_of_own(own)
    others = {name_of_own(other) for other in names if absolute_own(other) != absolute_own(own)}
    if name in _TAKEN | others or name.endswith("_signature"):
        raise UserError(f"{_FIELD}: {own!r}: {name!r} is the name of another score; rename the metric")


def _try(name: str, metric: Metric) -> None:
    """Checks that the user's own metric can score a text."""
    text = Reading("a", ("a",))
    try:
        score({name: metric}, [text], [[text]])
    except Exception as error:  # the metric's own code may raise anything
        raise UserError(f"{_FIELD}: {name!r} cannot score a text: {type(error).__name__}: {error}") from None
