"""Cross-entropy and perplexity, word and phone error rates, BLEU and chrF.

Imports nothing from the rest of rnnlab.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import sacrebleu
from jaxtyping import Array, Float, Int
from rapidfuzz.distance import Levenshtein

METRICS = ("wer", "per", "bleu", "chrf", "token_bleu")  # of what was said
FREE_RUNNING = "free_running_loss"  # of the labels, where each step read what the one before it found likeliest
LOWER_IS_BETTER = {"loss", "perplexity", FREE_RUNNING, "wer", "per"}


def cross_entropy(
    logits: Float[Array, "time batch vocabulary"],
    labels: Int[Array, "time batch"],
    seq_lengths: Int[Array, "batch"],
    *,
    smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Sum over all labels within `seq_lengths` of -log p, in nats; divide by the sum of `seq_lengths` for the mean.

    With label smoothing (Szegedy et al. 2016, arXiv 1512.00567) a share `smoothing` of each target is spread evenly
    over the vocabulary.
    """
    valid = jnp.arange(labels.shape[0])[:, None] < seq_lengths
    highest = jax.scipy.special.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    loss = highest - (1 - smoothing) * picked
    if smoothing:
        loss -= smoothing * logits.mean(-1)
    return jnp.sum(jnp.where(valid, loss, 0))


def error_rates(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """`wer`, % of hypotheses that are none of their references, and `per`, edits per 100 symbols of the reference.

    Symbols stand between single spaces. Where several references count as right, the edits are those to the nearest
    one (the first of equals), as in SIGMORPHON 2020 (Gorman et al., 2020.sigmorphon-1.2), which has one.
    """
    wrong = edits = symbols = 0
    for hypothesis, answers in zip(hypotheses, references, strict=True):
        said = hypothesis.split()
        distances = [(Levenshtein.distance(said, answer.split()), len(answer.split())) for answer in answers]
        nearest, length = min(distances, key=lambda pair: pair[0])
        wrong, edits, symbols = wrong + (nearest > 0), edits + nearest, symbols + length
    return {"wer": 100 * wrong / max(1, len(hypotheses)), "per": 100 * edits / max(1, symbols)}


def translation_scores(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float | str]:
    """`bleu` (Papineni et al. 2002) and `chrf` (Popovic 2015) of the corpus, each with its sacrebleu signature."""
    most = max((len(answers) for answers in references), default=1)
    streams: list = [[answers[i] if i < len(answers) else None for answers in references] for i in range(most)]
    scores: dict[str, float | str] = {}
    for name, metric in (("bleu", sacrebleu.BLEU()), ("chrf", sacrebleu.CHRF())):
        scores[name] = metric.corpus_score(list(hypotheses), streams).score if hypotheses else 0.0
        scores[f"{name}_signature"] = metric.get_signature().format() if hypotheses else ""
    return scores


def token_bleu(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, float | str]:
    """`token_bleu` of the corpus over tokens as they are, one reference each, with its sacrebleu signature."""
    metric = sacrebleu.BLEU(tokenize="none", force=True)
    said, right = ([" ".join(tokens) for tokens in side] for side in (hypotheses, references))
    scores: dict[str, float | str] = {"token_bleu": metric.corpus_score(said, [right]).score if said else 0.0}
    return scores | {"token_bleu_signature": metric.get_signature().format() if said else ""}


def score(
    names: Sequence[str], hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float | str]:
    """The metrics `names` out of `METRICS`, those of tokens left out, with their signatures where they have one."""
    scores: dict[str, float | str] = {}
    if {"wer", "per"} & set(names):
        scores |= error_rates(hypotheses, references)
    if {"bleu", "chrf"} & set(names):
        scores |= translation_scores(hypotheses, references)
    return {key: value for key, value in scores.items() if key.removesuffix("_signature") in names}
