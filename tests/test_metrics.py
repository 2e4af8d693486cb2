import numpy as np
import pytest
import sacrebleu

from rnnlab.metrics import (
    METRICS,
    bleu_tokenizers,
    error_rates,
    needs_a_tokenizer,
    score,
    token_bleu,
    translation_scores,
)


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
    rates = error_rates(said, [[r] for r in right])
    edits = [_edits(s, r) for s, r in zip(said, right, strict=True)]
    assert rates["per"] == pytest.approx(100 * sum(edits) / sum(map(len, right)))
    assert rates["wer"] == pytest.approx(100 * np.mean([e > 0 for e in edits]))


def test_the_nearest_of_several_references_counts():
    assert error_rates(["ab", "x"], [["acd", "ab"], ["ab", "xyz", "y"]]) == {"wer": 50.0, "per": 100 / 3}


def test_empty_outputs_are_all_deletions_and_no_outputs_no_errors():
    assert error_rates([""], [["ab"]]) == {"wer": 100.0, "per": 100.0}
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


def test_bleu_of_short_references_is_over_the_ngrams_that_they_have_and_else_as_ever():
    assert translation_scores(["yes sir", "no"], [["yes sir"], ["no"]])["bleu"] == pytest.approx(100)
    assert translation_scores(["a b", "no"], [["a b c d e"], ["no"]])["bleu"] == 0.0
    for answers in (["a b c d e", "a b"], ["a b", "a b c d e"], ["abcdefgh ij", "a b c d"]):
        assert translation_scores(answers[:1], [answers])["bleu"] == pytest.approx(100)
        assert translation_scores(answers[1:], [answers])["bleu"] == pytest.approx(100)
    assert "eff:no" in translation_scores(["a b"], [["a b c d e"]])["bleu_signature"]
    assert token_bleu([["a", "b"]], [[["x"], ["a", "b"]]])["token_bleu"] == pytest.approx(100)


def test_scripts_without_blanks_have_words_by_the_tokenizer_that_is_asked_for():
    said, right = ["今天天气非常好，我们去公园。"], [["今天天气很好，我们去公园。"]]
    assert needs_a_tokenizer(right)
    assert needs_a_tokenizer([["วันนี้อากาศดีมาก"]])
    assert needs_a_tokenizer([["ត្រី"], ["မြန်မာ"], ["ꦲꦏ꧀ꦱꦫ"], ["ᨲᩫ᩠ᩅᨾᩮᩬᩥᨦ"]])
    assert not needs_a_tokenizer([["今 Tokyo is a city"], ["हिन्दी"]])
    assert translation_scores(said, right)["bleu"] < 1
    found = translation_scores(said, right, tokenizer="zh")
    assert found["bleu"] == sacrebleu.BLEU(tokenize="zh").corpus_score(said, [right[0]]).score > 40
    assert "tok:zh" in found["bleu_signature"]
    assert {"13a", "zh", "char", "intl", "none"} <= set(bleu_tokenizers())


def test_edits_are_counted_over_tokens_and_over_characters_and_wrong_texts_apart():
    said, right = ("three seven", ("three", "seven")), ("three sevens", ("three", "sevens"))
    assert score(["wer", "per", "cer"], [said], [[right]]) == {"wer": 100.0, "per": 50.0, "cer": 100 / 12}
    assert score(["per"], [("abc", tuple("abc"))], [[("abd", tuple("abd"))]]) == {"per": pytest.approx(100 / 3)}


def test_only_the_metrics_asked_for_are_reported():
    reading = ("a b c d", ("a", "b", "c", "d"))
    for name in METRICS:
        assert set(score([name], [reading], [[reading]])) - {f"{name}_signature"} == {name}
