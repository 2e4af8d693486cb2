"""Whether the metrics that a config names can be computed."""

import difflib

from ml_collections import ConfigDict

from rnnlab.errors import UserError
from rnnlab.metrics import FREE_RUNNING, METRICS, bleu_tokenizers, translation_scores
from rnnlab.tasks.seq2seq.config import metric_names


def check_best_metric(config: ConfigDict) -> None:
    """Refuses a metric that is none of those that are computed.

    Raises:
      UserError: names the nearest one.
    """
    allowed, metric = ("loss", "perplexity", *metric_names(config)), config.training.best_metric
    if metric not in allowed:
        wanted = difflib.get_close_matches(metric, allowed, 1)
        hint = f" (did you mean {wanted[0]!r}?)" if wanted else ""
        raise UserError(f"config.training.best_metric: unknown {metric!r}{hint}; allowed: {', '.join(allowed)}")


def check_metrics(config: ConfigDict) -> None:
    """Refuses metrics that there are not.

    Raises:
      UserError: an unknown metric or tokenizer of BLEU, or one that needs what is not installed.
    """
    for name in metric_names(config):
        if name not in (*METRICS, FREE_RUNNING):
            raise UserError(
                f"config.evaluation.metrics: unknown {name!r}; allowed: {', '.join((*METRICS, FREE_RUNNING))}"
            )
    field, tokenizer = "config.evaluation.bleu_tokenizer", config.evaluation.bleu_tokenizer
    if tokenizer not in bleu_tokenizers():
        raise UserError(f"{field}: unknown {tokenizer!r}; allowed: {', '.join(bleu_tokenizers())}")
    if "bleu" in metric_names(config):
        try:
            translation_scores(["a"], [["a"]], tokenizer=tokenizer)
        except Exception as error:  # each tokenizer needs a package or a download of its own, and fails in its own way
            raise UserError(f"{field}: {tokenizer!r} cannot be used here: {error}") from None
