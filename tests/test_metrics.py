import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sacrebleu
from oracle import assert_close

from rnnlab.metrics import cross_entropy, error_rates, score, translation_scores

LOGITS = 3 * jax.random.normal(jax.random.key(0), (5, 3, 7))
LABELS = jax.random.randint(jax.random.key(1), (5, 3), 0, 7)
LENGTHS = jnp.array([5, 0, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_the_smoothed_targets_within_the_lengths(smoothing):
    targets = optax.smooth_labels(jax.nn.one_hot(LABELS, 7), smoothing)
    every = optax.softmax_cross_entropy(LOGITS, targets)
    wanted = sum(every[:length, row].sum() for row, length in enumerate(LENGTHS))
    assert_close(cross_entropy(LOGITS, LABELS, LENGTHS, smoothing=smoothing), wanted)


def test_padding_has_no_gradient():
    gradient = jax.grad(cross_entropy)(LOGITS, LABELS, LENGTHS)
    assert not np.any(gradient[:, 1])
    assert not np.any(gradient[2:, 2])
    assert np.all(np.any(gradient[:, 0], axis=-1))


def _edits(said, right):
    table = [list(range(len(right) + 1))]
    for i, symbol in enumerate(said, 1):
        row = [i]
        for j, wanted in enumerate(right, 1):
            row.append(min(table[-1][j] + 1, row[-1] + 1, table[-1][j - 1] + (symbol != wanted)))
        table.append(row)
    return table[-1][-1]


def test_error_rates_are_edits_over_reference_symbols_and_wrong_words_over_words():
    rng = np.random.default_rng(0)
    said, right = ([list(rng.choice(list("abc"), rng.integers(1, 8))) for _ in range(40)] for _ in range(2))
    rates = error_rates([" ".join(s) for s in said], [[" ".join(r)] for r in right])
    edits = [_edits(s, r) for s, r in zip(said, right, strict=True)]
    assert rates["per"] == pytest.approx(100 * sum(edits) / sum(map(len, right)))
    assert rates["wer"] == pytest.approx(100 * np.mean([e > 0 for e in edits]))


def test_the_nearest_of_several_references_counts():
    assert error_rates(["a b", "x"], [["a c d", "a b"], ["a b", "x y z", "y"]]) == {"wer": 50.0, "per": 100 / 3}


def test_empty_outputs_are_all_deletions_and_no_outputs_no_errors():
    assert error_rates([""], [["a b"]]) == {"wer": 100.0, "per": 100.0}
    assert error_rates([], []) == {"wer": 0.0, "per": 0.0}


def test_translation_scores_are_sacrebleus_with_its_signature():
    said = ["the cat sat on the mat", "a dog barked loudly at night"]
    right = [["the cat sat on a mat", "the cat is on the mat"], ["a dog barked at night"]]
    scores = translation_scores(said, right)
    streams = [[right[0][0], right[1][0]], [right[0][1], None]]
    assert scores["bleu"] == sacrebleu.BLEU().corpus_score(said, streams).score > 0
    assert scores["chrf"] == sacrebleu.CHRF().corpus_score(said, streams).score
    assert "tok:13a" in scores["bleu_signature"]
    assert "version:" in scores["chrf_signature"]


def test_only_the_metrics_asked_for_are_reported():
    assert set(score(["per"], ["a"], [["a"]])) == {"per"}
    assert set(score(["bleu", "wer"], ["a b c d"], [["a b c d"]])) == {"bleu", "bleu_signature", "wer"}
