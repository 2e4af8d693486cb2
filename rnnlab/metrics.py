"""Scores of texts: error rates of words, phones and characters, BLEU and chrF.

Imports no jax, and nothing from the rest of rnnlab.
"""

from collections.abc import Sequence
from typing import Any

import regex
from rapidfuzz.distance import Levenshtein

METRICS = ("wer", "per", "cer", "bleu", "chrf", "token_bleu")  # of what was predicted
FREE_RUNNING = "free_running_loss"  # of the labels, where each step reads the most likely token of the one before it
LOWER_IS_BETTER = {"loss", "perplexity", FREE_RUNNING, "wer", "per", "cer"}
_SCRIPTS = "Han Hiragana Katakana Thai Lao Khmer Myanmar Tibetan Javanese Balinese Tai_Tham Tai_Le New_Tai_Lue Tai_Viet"
_UNSPACED = regex.compile("[" + "".join(rf"\p{{{script}}}" for script in _SCRIPTS.split()) + "]")
_LETTER = regex.compile(r"\p{L}")

Tokens = Sequence[str]  # a text is a sequence of its characters
Reading = tuple[str, tuple[str, ...]]  # a text and its tokens


def bleu_tokenizers() -> tuple[str, ...]:
    """Names the tokenizers that BLEU may use, sacrebleu's."""
    import sacrebleu

    return tuple(sacrebleu.BLEU.TOKENIZERS)


def error_rates(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> dict[str, float]:
    """Computes `wer`, % of hypotheses that are none of their references, and `per`, edits per 100 reference tokens.

    Where several references count as right, the edits are those to the nearest one (the first of equals), as in
    SIGMORPHON 2020 (Gorman et al., 2020.sigmorphon-1.2), which has one.

    Args:
      hypotheses: the tokens of each prediction; a string is a sequence of characters.
      references: those of each right answer to it.
    """
    wrong = edits = tokens = 0
    for hypothesis, answers in zip(hypotheses, references, strict=True):
        distances = [(Levenshtein.distance(hypothesis, answer), len(answer)) for answer in answers]
        nearest, length = min(distances, key=lambda pair: pair[0])
        wrong, edits, tokens = wrong + (nearest > 0), edits + nearest, tokens + length
    return {"wer": 100 * wrong / max(1, len(hypotheses)), "per": 100 * edits / max(1, tokens)}


def translation_scores(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenizer: str = "13a"
) -> dict[str, float | str]:
    """Computes `bleu` (Papineni et al. 2002) and `chrf` (Popovic 2015) of a corpus, each with its sacrebleu signature.

    Args:
      hypotheses, references: a text for each source, and every right answer to it.
      tokenizer: of BLEU, one of `bleu_tokenizers()`.
    """
    import sacrebleu

    chrf = sacrebleu.CHRF()
    found = chrf.corpus_score(list(hypotheses), _streams(references)) if hypotheses else None
    return _bleu("bleu", hypotheses, references, tokenize=tokenizer) | _signed("chrf", chrf, found)


def token_bleu(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> dict[str, float | str]:
    """Computes `token_bleu`, the BLEU of a corpus over tokens as they are, with its sacrebleu signature."""
    spaced = [[" ".join(answer) for answer in answers] for answers in references]
    return _bleu("token_bleu", [" ".join(tokens) for tokens in hypotheses], spaced, tokenize="none", force=True)


def _bleu(
    name: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]], **options: Any
) -> dict[str, float | str]:
    """BLEU; where right answers need not hold a 4-gram, and the hypotheses hold none, by the longest n-grams that there
    are (signature eff:yes), for else those answers themselves would score 0."""
    import sacrebleu

    metric, streams = sacrebleu.BLEU(**options), _streams(references)

    def is_short(text: str) -> bool:
        return not metric.corpus_score([text], [[text]]).totals[-1]

    found = metric.corpus_score(list(hypotheses), streams) if hypotheses else None
    if found is not None and not found.totals[-1] and all(any(map(is_short, answers)) for answers in references):
        metric = sacrebleu.BLEU(**options, effective_order=True)
        found = metric.corpus_score(list(hypotheses), streams)
    return _signed(name, metric, found)


def _streams(references: Sequence[Sequence[str]]) -> list[Any]:
    """References as sacrebleu takes them: the first one of every source, then the second ones, ..."""
    most = max((len(answers) for answers in references), default=1)
    return [[answers[i] if i < len(answers) else None for answers in references] for i in range(most)]


def _signed(name: str, metric: Any, found: Any) -> dict[str, float | str]:
    """What sacrebleu found, with the metric's signature; 0 without one where there was nothing to score."""
    if found is None:
        return {name: 0.0, f"{name}_signature": ""}
    return {name: found.score, f"{name}_signature": metric.get_signature().format()}


def needs_a_tokenizer(references: Sequence[Sequence[str]]) -> bool:
    """Whether most letters are of scripts without blanks between words, of which BLEU's tokenizer 13a makes one token
    a line."""
    text = "".join(answer for answers in references for answer in answers)
    return 2 * len(_UNSPACED.findall(text)) > len(_LETTER.findall(text))


def score(
    names: Sequence[str],
    hypotheses: Sequence[Reading],
    references: Sequence[Sequence[Reading]],
    *,
    tokenizer: str = "13a",
) -> dict[str, float | str]:
    """Scores predictions by the metrics `names` out of `METRICS`.

    `wer` is the share of wrong texts, `per` counts edits over tokens and `cer` over characters; `bleu` (with
    sacrebleu's `tokenizer`) and `chrf` compare texts, `token_bleu` tokens; these three come with their signatures.

    Args:
      hypotheses: a text and its tokens for each prediction; references: the same of each right answer to it.
    """
    texts, tokens = [text for text, _ in hypotheses], [tokens for _, tokens in hypotheses]
    right_texts = [[text for text, _ in answers] for answers in references]
    right_tokens = [[tokens for _, tokens in answers] for answers in references]
    scores: dict[str, float | str] = {}
    if {"wer", "per", "cer"} & set(names):
        of_texts, of_tokens = error_rates(texts, right_texts), error_rates(tokens, right_tokens)
        scores |= {"wer": of_texts["wer"], "per": of_tokens["per"], "cer": of_texts["per"]}
    if {"bleu", "chrf"} & set(names):
        scores |= translation_scores(texts, right_texts, tokenizer=tokenizer)
    if "token_bleu" in names:
        scores |= token_bleu(tokens, right_tokens)
    return {key: value for key, value in scores.items() if key.removesuffix("_signature") in names}
