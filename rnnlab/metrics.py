"""Scores of texts: error rates of words, phones and characters, BLEU and chrF.

A metric is a function and whether lower is better. A new one is a function and a line in `METRICS`, or a `Metric` in
the user's own file. Imports no jax, and only `own` from rnnlab.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import regex
from rapidfuzz.distance import Levenshtein

from rnnlab.own import is_own, load_own

FREE_RUNNING = "free_running_loss"  # each step reads the most likely token of the one before it
LOSSES = ("loss", "perplexity", FREE_RUNNING)  # scores of labels, which no `Metric` computes
_SCRIPTS = "Han Hiragana Katakana Thai Lao Khmer Myanmar Tibetan Javanese Balinese Tai_Tham Tai_Le New_Tai_Lue Tai_Viet"
_UNSPACED = regex.compile("[" + "".join(rf"\p{{{script}}}" for script in _SCRIPTS.split()) + "]")
_LETTER = regex.compile(r"\p{L}")

Tokens = Sequence[str]  # a text is a sequence of its characters
Reading = tuple[str, tuple[str, ...]]  # a text and its tokens


class Signed(NamedTuple):
    """A score with its signature: the program, version and options that computed it."""

    value: float
    signature: str


class Metric(NamedTuple):
    """A score of predicted texts.

    Attributes:
      function: takes a list of predictions and, for each, the list of its references; returns the score of all, a
        number or `Signed`. Predictions and references are tuples of a text and its tokens (`.text`, `.tokens`).
      lower_is_better: whether the score is an error.
    """

    function: Callable[[Sequence[Any], Sequence[Sequence[Any]]], float | Signed]
    lower_is_better: bool


def find_metric(name: str, known: Mapping[str, Metric]) -> Metric:
    """Finds a metric by its name, or one of the user's own as `module:NAME` or `file.py:NAME`.

    Raises:
      ValueError: an unknown name, or the user's own code cannot be imported or is not a `Metric`.
    """
    if is_own(name):
        found = load_own(name)
        if not isinstance(found, Metric):
            raise ValueError(f"{name!r} is not a rnnlab.metrics.Metric but of type {type(found).__name__}")
        return found
    if name not in known:
        allowed = ", ".join((*known, FREE_RUNNING))
        raise ValueError(f"unknown {name!r}; allowed: {allowed}, or your own metric as module:NAME or file.py:NAME")
    return known[name]


def score(
    metrics: Mapping[str, Metric], hypotheses: Sequence[Reading], references: Sequence[Sequence[Reading]]
) -> dict[str, float | str]:
    """Scores predictions by each of the metrics; a signature has the name of its metric with `_signature` after it.

    Args:
      hypotheses: a text and its tokens for each prediction; references: the same of each of its references.
    """
    scores: dict[str, float | str] = {}
    for name, metric in metrics.items():
        found = metric.function(hypotheses, references)
        if isinstance(found, Signed):
            scores |= {name: float(found.value), f"{name}_signature": found.signature}
        else:
            scores[name] = float(found)
    return scores


def bleu_tokenizers() -> tuple[str, ...]:
    """Lists sacrebleu's tokenizers, which BLEU may use."""
    import sacrebleu

    return tuple(sacrebleu.BLEU.TOKENIZERS)


def wrong_rate(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Computes the percentage of texts that match none of their references."""
    wrong = sum(hypothesis not in answers for hypothesis, answers in zip(hypotheses, references, strict=True))
    return 100 * wrong / max(1, len(hypotheses))


def edit_rate(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float:
    """Computes the edits per 100 tokens of the references.

    With several references, the edits are counted to the nearest one (the first of equals); with one, this is the
    measure of SIGMORPHON 2020 (Gorman et al., 2020.sigmorphon-1.2).

    Args:
      hypotheses: the tokens of each prediction; a string is a sequence of characters.
      references: the tokens of each of its references.
    """
    edits = tokens = 0
    for hypothesis, answers in zip(hypotheses, references, strict=True):
        distances = [(Levenshtein.distance(hypothesis, answer), len(answer)) for answer in answers]
        nearest, length = min(distances, key=lambda pair: pair[0])
        edits, tokens = edits + nearest, tokens + length
    return 100 * edits / max(1, tokens)


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenizer: str = "13a") -> Signed:
    """Computes the BLEU (Papineni et al. 2002) of a corpus, with its sacrebleu signature.

    Args:
      hypotheses, references: a text for each source, and all its references.
      tokenizer: one of `bleu_tokenizers()`.
    """
    return _bleu(hypotheses, references, tokenize=tokenizer)


def token_bleu(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Signed:
    """Computes the BLEU of a corpus over the given tokens, with its sacrebleu signature."""
    spaced = [[" ".join(answer) for answer in answers] for answers in references]
    return _bleu([" ".join(tokens) for tokens in hypotheses], spaced, tokenize="none", force=True)


def chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Signed:
    """Computes the chrF (Popovic 2015) of a corpus of texts, with its sacrebleu signature."""
    import sacrebleu

    metric = sacrebleu.CHRF()
    return _signed(metric, metric.corpus_score(list(hypotheses), _streams(references)) if hypotheses else None)


def _bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], **options: Any) -> Signed:
    """Computes BLEU. If neither the hypotheses nor some references have a 4-gram, the longest n-grams that occur are
    used (signature eff:yes), since otherwise the references themselves would score 0."""
    import sacrebleu

    metric, streams = sacrebleu.BLEU(**options), _streams(references)

    def is_short(text: str) -> bool:
        return not metric.corpus_score([text], [[text]]).totals[-1]

    found = metric.corpus_score(list(hypotheses), streams) if hypotheses else None
    if found is not None and not found.totals[-1] and all(any(map(is_short, answers)) for answers in references):
        metric = sacrebleu.BLEU(**options, effective_order=True)
        found = metric.corpus_score(list(hypotheses), streams)
    return _signed(metric, found)


def _streams(references: Sequence[Sequence[str]]) -> list[Any]:
    """Arranges references for sacrebleu: the first one of every source, then the second ones, ..."""
    most = max((len(answers) for answers in references), default=1)
    return [[answers[i] if i < len(answers) else None for answers in references] for i in range(most)]


def _signed(metric: Any, found: Any) -> Signed:
    """Returns sacrebleu's score with its signature; 0 without a signature if there was nothing to score."""
    return Signed(0.0, "") if found is None else Signed(found.score, metric.get_signature().format())


def needs_a_tokenizer(references: Sequence[Sequence[str]]) -> bool:
    """Returns whether most letters are of scripts without blanks between words; BLEU's tokenizer 13a would make each
    such line one token."""
    text = "".join(answer for answers in references for answer in answers)
    return 2 * len(_UNSPACED.findall(text)) > len(_LETTER.findall(text))


def _of_texts(function: Callable[..., float | Signed], lower_is_better: bool) -> Metric:
    """Makes a metric that compares texts."""

    def of_texts(hypotheses: Sequence[Reading], references: Sequence[Sequence[Reading]]) -> float | Signed:
        return function([text for text, _ in hypotheses], [[text for text, _ in answers] for answers in references])

    return Metric(of_texts, lower_is_better)


def _of_tokens(function: Callable[..., float | Signed], lower_is_better: bool) -> Metric:
    """Makes a metric that compares tokens."""

    def of_tokens(hypotheses: Sequence[Reading], references: Sequence[Sequence[Reading]]) -> float | Signed:
        right = [[tokens for _, tokens in answers] for answers in references]
        return function([tokens for _, tokens in hypotheses], right)

    return Metric(of_tokens, lower_is_better)


def bleu_by(tokenizer: str) -> Metric:
    """Makes the BLEU metric over the tokens of one of `bleu_tokenizers()`."""
    return _of_texts(functools.partial(bleu, tokenizer=tokenizer), lower_is_better=False)


METRICS: dict[str, Metric] = {
    "wer": _of_texts(wrong_rate, lower_is_better=True),
    "per": _of_tokens(edit_rate, lower_is_better=True),
    "cer": _of_texts(edit_rate, lower_is_better=True),
    "bleu": bleu_by("13a"),
    "chrf": _of_texts(chrf, lower_is_better=False),
    "token_bleu": _of_tokens(token_bleu, lower_is_better=False),
}
