import numpy as np
import pytest
import sacrebleu

from rnnlab.metrics import (
    METRICS,
    bleu,
    bleu_tokenizers,
    chrf,
    edit_rate,
    needs_a_tokenizer,
    score,
    token_bleu,
    wrong_rate,
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
    said, right = (["".join(rng.choice(list("abc"), rng.integers(1, 4))) for _ in range(40)] for _ in range(2))
    edits = [_edits(s, r) for s, r in zip(said, right, strict=True)]
    assert 0 in edits
    assert edit_rate(said, [[r] for r in right]) == pytest.approx(100 * sum(edits) / sum(map(len, right)))
    assert wrong_rate(said, [[r] for r in right]) == pytest.approx(100 * np.mean([e > 0 for e in edits]))
    tokens = [[list(texts) for texts in each] for each in (said, right)]
    assert edit_rate(tokens[0], [[r] for r in tokens[1]]) == edit_rate(said, [[r] for r in right])


def test_the_nearest_of_several_references_counts():
    said, right = ["ab", "x"], [["acd", "ab"], ["ab", "xyz", "y"]]
    assert (wrong_rate(said, right), edit_rate(said, right)) == (50.0, 100 / 3)


def test_empty_outputs_are_all_deletions_and_no_outputs_no_errors():
    assert wrong_rate([""], [["ab"]]) == edit_rate([""], [["ab"]]) == 100.0
    assert wrong_rate([], []) == edit_rate([], []) == 0.0


def test_bleu_and_chrf_are_sacrebleus_with_its_signature():
    said = ["the cat sat on the mat", "a dog barked loudly at night"]
    right = [["the cat sat on a mat", "the cat is on the mat"], ["a dog barked at night"]]
    streams = [[right[0][0], right[1][0]], [right[0][1], None]]
    assert bleu(said, right).value == sacrebleu.BLEU().corpus_score(said, streams).score > 0
    assert chrf(said, right).value == sacrebleu.CHRF().corpus_score(said, streams).score
    assert "tok:13a" in bleu(said, right).signature
    assert "version:" in chrf(said, right).signature
    assert bleu([], []) == chrf([], []) == token_bleu([], []) == (0.0, "")


def test_bleu_of_short_references_is_over_the_ngrams_that_they_have_and_else_as_ever():
    assert bleu(["yes sir", "no"], [["yes sir"], ["no"]]).value == pytest.approx(100)
    assert bleu(["a b", "no"], [["a b c d e"], ["no"]]).value == 0.0
    for answers in (["a b c d e", "a b"], ["a b", "a b c d e"], ["abcdefgh ij", "a b c d"]):
        assert bleu(answers[:1], [answers]).value == pytest.approx(100)
        assert bleu(answers[1:], [answers]).value == pytest.approx(100)
    assert "eff:no" in bleu(["a b"], [["a b c d e"]]).signature
    assert token_bleu([["a", "b"]], [[["x"], ["a", "b"]]]).value == pytest.approx(100)


def test_scripts_without_blanks_have_words_by_the_tokenizer_that_is_asked_for():
    said, right = ["今天天气非常好，我们去公园。"], [["今天天气很好，我们去公园。"]]
    assert needs_a_tokenizer(right)
    assert needs_a_tokenizer([["วันนี้อากาศดีมาก"]])
    assert needs_a_tokenizer([["ត្រី"], ["မြန်မာ"], ["ꦲꦏ꧀ꦱꦫ"], ["ᨲᩫ᩠ᩅᨾᩮᩬᩥᨦ"]])
    assert not needs_a_tokenizer([["今 Tokyo is a city"], ["हिन्दी"]])
    assert bleu(said, right).value < 1
    found = bleu(said, right, tokenizer="zh")
    assert found.value == sacrebleu.BLEU(tokenize="zh").corpus_score(said, [right[0]]).score > 40
    assert "tok:zh" in found.signature
    assert {"13a", "zh", "char", "intl", "none"} <= set(bleu_tokenizers())


def test_edits_are_counted_over_tokens_and_over_characters_and_wrong_texts_apart():
    said, right = ("three seven", ("three", "seven")), ("three sevens", ("three", "sevens"))
    rates = {name: METRICS[name] for name in ("wer", "per", "cer")}
    assert score(rates, [said], [[right]]) == {"wer": 100.0, "per": 50.0, "cer": 100 / 12}
    said, right = ("abc", tuple("abc")), ("abd", tuple("abd"))
    assert score({"per": METRICS["per"]}, [said], [[right]]) == {"per": pytest.approx(100 / 3)}


def test_a_score_and_its_signature_have_the_name_that_was_asked_for():
    reading = ("a b c d", ("a", "b", "c", "d"))
    for name, metric in METRICS.items():
        assert set(score({"x": metric}, [reading], [[reading]])) - {"x_signature"} == {"x"}, name
