import unicodedata

import pytest

from rnnlab.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from rnnlab.errors import UserError


@pytest.mark.parametrize(
    ("unit", "text", "pieces"),
    [
        ("character", "ab a", ["a", "b", " ", "a"]),
        ("symbol", "SH IY T", ["SH", "IY", "T"]),
        ("word", "Ein Haus, groß.", ["Ein", "Haus", ",", "groß", "."]),
    ],
)
def test_text_is_cut_into_the_unit_and_put_together_again(unit, text, pieces):
    vocabulary = Vocabulary.build([text], unit=unit)
    ids = vocabulary.encode(text)
    assert vocabulary.pieces(ids) == pieces
    assert vocabulary.decode([BOS, *ids, EOS, PAD]) == ("" if unit == "character" else " ").join(pieces)
    assert len(vocabulary) == 4 + len(set(pieces))


def test_rare_and_unseen_tokens_are_unknown():
    vocabulary = Vocabulary.build(["a a b"], unit="symbol", min_count=2)
    assert vocabulary.encode("a b c") == [4, UNK, UNK]


def test_a_text_that_spells_a_sign_says_only_its_letters():
    for unit in ("symbol", "subword"):
        vocabulary = Vocabulary.build(["<s> a <pad> </s>"] * 3, unit=unit, size=60)
        assert not {PAD, BOS, EOS} & set(vocabulary.encode("<s> <pad> </s>"))


def test_case_and_normal_form_apply_to_both_building_and_use():
    vocabulary = Vocabulary.build(["한국 ABC"], unit="character", lowercase=True, normal_form="NFD")
    assert vocabulary.pieces(vocabulary.encode("한")) == list(unicodedata.normalize("NFD", "한"))
    assert UNK not in vocabulary.encode("한국 abc")
    assert vocabulary.normalise("É") == "e\u0301"


@pytest.mark.parametrize("unit", ["character", "word", "symbol", "subword"])
def test_saved_and_loaded_it_is_the_same(tmp_path, unit):
    texts = ["the lower the newer", "the low new tower", "ünïcode \u2028 \ud7ff"]
    vocabulary = Vocabulary.build(texts, unit=unit, size=40)
    vocabulary.save(tmp_path / "v.json")
    again = Vocabulary.load(tmp_path / "v.json")
    assert len(again) == len(vocabulary)
    assert [again.encode(text) for text in texts] == [vocabulary.encode(text) for text in texts]


def test_subwords_are_longer_than_characters_and_give_the_text_back():
    texts = ["low lower lowest newer newest"] * 20
    vocabulary = Vocabulary.build(texts, unit="subword", size=60)
    ids = vocabulary.encode("lowest newer")
    assert vocabulary.decode(ids) == "lowest newer"
    assert len(ids) < len("lowest newer") / 2


def test_unknown_options_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="unit: unknown value 'char'; allowed: 'character'"):
        Vocabulary.build(["a"], unit="char")
    with pytest.raises(UserError, match="normal_form: unknown value 'NFX'"):
        Vocabulary.build(["a"], unit="character", normal_form="NFX")
    (tmp_path / "v.json").write_text('{"unit": "char')
    with pytest.raises(UserError, match=r"v.json: not a vocabulary"):
        Vocabulary.load(tmp_path / "v.json")


def test_punctuation_is_a_subword_of_its_own_and_comes_back_where_it_was():
    texts = ["a man's t-shirt, red (or blue)."] * 20
    vocabulary = Vocabulary.build(texts, unit="subword", size=200)
    pieces = vocabulary.pieces(vocabulary.encode("a shirt, red."))
    assert "," in pieces
    assert "." in pieces
    for text in ("a man's t-shirt, red (or blue).", "(a) man."):
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_spacy_parts_words_by_the_rules_of_the_language():
    pytest.importorskip("spacy")
    english = Vocabulary.build(["A man isn't here."], unit="spacy", language="en", lowercase=True)
    assert english.split("A man isn't here.") == ["a", "man", "is", "n't", "here", "."]
    assert english.encode("a man ran") == [*english.encode("a man"), UNK]
    with pytest.raises(UserError, match="language: spaCy has no rules for 'xx-klingon'"):
        Vocabulary.build(["a"], unit="spacy", language="xx-klingon")


def test_reversed_ids_run_from_the_last_token_to_the_first(tmp_path):
    forwards, backwards = (Vocabulary.build(["a b c"], unit="symbol", reverse=flag) for flag in (False, True))
    backwards.save(tmp_path / "v.json")
    backwards = Vocabulary.load(tmp_path / "v.json")
    assert backwards.encode("a b c") == forwards.encode("c b a")
    assert backwards.decode(backwards.encode("a b c")) == "a b c"


def test_the_normal_form_is_decided_by_what_would_be_unseen():
    """Hangul syllables that one word alone has are many, their jamo few; French letters are all seen, either way."""
    korean = [chr(0xAC00 + 977 * i % 11172) for i in range(200)]
    french = ["été", "âge", "tâche", "thé", "côté", "hôte"] * 20
    forms = {}
    for name, words in {"korean": korean, "french": french}.items():
        vocabulary = Vocabulary.build(words, unit="character", normal_form="auto")
        forms[name] = vocabulary.normalise(words[0])
    assert forms["korean"] == unicodedata.normalize("NFD", korean[0])
    assert forms["french"] == unicodedata.normalize("NFC", french[0])


@pytest.mark.parametrize("size", [-(2**31), -3, 0, 1, 4, 10])
def test_a_subword_vocabulary_is_no_smaller_than_its_characters_and_special_tokens(size):
    with pytest.raises(UserError, match=f"size: {size} is too small: .* are 11"):  # 4, a, b, c, d, e, the blank, "."
        Vocabulary.build(["abc de", "e."], unit="subword", size=size)
    assert len(Vocabulary.build(["abc de", "e."], unit="subword", size=11)) == 11
