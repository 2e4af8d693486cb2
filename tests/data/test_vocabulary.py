import itertools
import re
import sys
import unicodedata

import pytest

from rnnlab.data.vocabulary import BOS, EOS, NORMAL_FORMS, PAD, UNITS, UNK, Vocabulary
from rnnlab.errors import UserError
from rnnlab.metrics import METRICS, score


@pytest.mark.parametrize(
    ("unit", "text", "pieces"),
    [
        ("character", "ab a", ["a", "b", " ", "a"]),
        ("symbol", "SH IY T", ["SH", "IY", "T"]),
        ("word", "Ein Haus, groß.", ["Ein", "Haus", ",", "groß", "."]),
        ("word", "हिन्दी भाषा में।", ["हिन्दी", "भाषा", "में", "।"]),
        ("word", "cafe\u0301 naïve", ["cafe\u0301", "naïve"]),
        ("word", "می\u200cخواهم ක්\u200dරම ന്\u200d co\u00adop", ["می\u200cخواهم", "ක්\u200dරම", "ന്\u200d", "co\u00adop"]),
        ("word", "မြန်မာ தமிழ் ᬅᬓ᭄ᬱᬭ", ["မြန်မာ", "தமிழ்", "ᬅᬓ᭄ᬱᬭ"]),
        ("word", "a\u200bb", ["a", "\u200b", "b"]),
        ("word", "ᠪᠣᠭᠳ\u180eᠠ", ["ᠪᠣᠭᠳ\u180eᠠ"]),
        ("word", "👩\u200d🔬 ❤\ufe0f! x²", ["👩\u200d🔬", "❤\ufe0f", "!", "x²"]),
    ],
)
def test_text_is_cut_into_the_unit_and_put_together_again(unit, text, pieces):
    vocabulary = Vocabulary.build([text], unit=unit)
    ids = vocabulary.encode(text)
    assert vocabulary.pieces(ids) == pieces
    assert vocabulary.decode([BOS, *ids, EOS, PAD]) == text
    assert len(vocabulary) == 4 + len(set(pieces))


@pytest.mark.parametrize("text", ["हिन्दी भाषा में", "décomposé", "İstanbul Iğdır", "한국어 문장", "ﬃ ǅ ΐ"])
@pytest.mark.parametrize("form", NORMAL_FORMS)
def test_marks_never_part_a_word_in_any_normal_form_or_case(text, form):
    vocabulary = Vocabulary.build([text], unit="word", normal_form=form, lowercase=True)
    assert vocabulary.split(text) == vocabulary.normalise(text).split()
    assert vocabulary.normalise(vocabulary.normalise(text)) == vocabulary.normalise(text)


_SENTENCES = [
    "Hello, world.",
    "It's a dog; isn't it?",
    'A well-known man (of 3.14, or 1,000) said: "Yes!" and "No".',
    "L'homme qu'il a vu \u2013 hier...",
    "Was? „Doch“, sagte er … 5 % & 10€!",
    "İstanbul'da décomposé, NAÏVE ﬁsh",
    "你好，世界。 हिन्दी में लिखो।",
    "x = a+b*c  (two  blanks)",
    "<s> and <unk> mean </s>.",
    "\u2581 under \u2581score",
    "Hi",
]


@pytest.mark.parametrize("unit", UNITS)
def test_who_repeats_a_reference_scores_perfectly_whatever_the_options(unit):
    pytest.importorskip("spacy" if unit == "spacy" else "regex")
    for reverse, lowercase, form in itertools.product((False, True), (False, True), ("", "NFD", "NFKC", "auto")):
        options = {"reverse": reverse, "lowercase": lowercase, "normal_form": form, "language": "en", "size": 300}
        vocabulary = Vocabulary.build(_SENTENCES, unit=unit, **options)
        for texts in (_SENTENCES, _SENTENCES[-1:]):
            right = [[vocabulary.read_text(answer) for answer in (text[::-1], text)] for text in texts]
            predicted = [vocabulary.read(vocabulary.encode(text)) for text in texts]
            scores = score(METRICS, predicted, right)
            best = {name: 0.0 if metric.lower_is_better else pytest.approx(100) for name, metric in METRICS.items()}
            assert {name: scores[name] for name in METRICS} == best


@pytest.mark.parametrize("unit", ["word", "spacy"])
def test_words_become_readable_text_again(unit):
    """The blanks are those of the text, also of other texts and where the same sign stands on either side of a word."""
    pytest.importorskip("spacy" if unit == "spacy" else "regex")
    vocabulary = Vocabulary.build(_SENTENCES[:5], unit=unit, language="en")
    for text in _SENTENCES[:5]:
        assert vocabulary.decode(vocabulary.encode(text)) == text
    text = 'A dog (or "dog") said: No, 3.14 well-known; it isn\'t.'
    assert vocabulary.read_text(text).text == text
    assert vocabulary.decode([*vocabulary.encode("Yes"), UNK, *vocabulary.encode(",")]) == "Yes <unk>,"


def test_an_unknown_subword_is_shown_and_never_equals_what_it_stands_for():
    vocabulary = Vocabulary.build(["low lower"] * 9, unit="subword", size=30)
    predicted, right = vocabulary.read(vocabulary.encode("low Xer")), vocabulary.read_text("low Xer")
    assert predicted.text == "low <unk>er"
    assert right.text == "low Xer"
    assert score({name: METRICS[name] for name in ("wer", "per")}, [predicted], [[right]]) == {
        "wer": 100.0,
        "per": pytest.approx(100 / len(right.tokens)),
    }


def test_bytes_are_all_known_and_give_any_text_back_as_far_as_it_is_utf8():
    vocabulary = Vocabulary.build(["a"], unit="byte", min_count=5)
    assert len(vocabulary) == 4 + 256
    text = "naïve 한국\n\0"
    assert [i - 4 for i in vocabulary.encode(text)] == list(text.encode())
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert (
        vocabulary.decode([4 + 0xFF, *vocabulary.encode("é")[:1], *vocabulary.encode("a"), UNK]) == "\ufffd\ufffda<unk>"
    )
    assert [i - 4 for i in vocabulary.encode(b"\xff\xe9".decode("utf-8", "surrogateescape"))] == [0xFF, 0xE9]


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


@pytest.mark.parametrize("unit", ["character", "byte", "word", "symbol", "subword"])
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
    for language in ("xx-klingon", "", "../de", "char_classes", "a\0b"):
        with pytest.raises(UserError, match=f"language: spaCy has no rules for {re.escape(repr(language))}"):
            Vocabulary.build(["a"], unit="spacy", language=language)


@pytest.mark.parametrize(
    ("language", "package"), [("ja", "sudachipy"), ("jpn", "sudachipy"), ("th", "pythainlp"), ("vi", "pyvi")]
)
def test_a_package_that_the_rules_of_a_language_need_is_named(monkeypatch, language, package):
    pytest.importorskip("spacy")
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(UserError, match=rf"(?i)spaCy's rules for '{language}' need another package: .*{package}"):
        Vocabulary.build(["a"], unit="spacy", language=language)


def test_a_package_that_spacy_itself_needs_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(UserError, match=r"needs the package spacy; pip install spacy \(.*spacy"):
        Vocabulary.build(["a"], unit="spacy", language="nl")


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


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_what_is_encoded_while_the_vocabulary_is_built_is_what_it_encodes(unit, reverse):
    texts = ["Ab, ab <s> c.", "", "ab d", "É c c c", "ab d"]
    options = {"min_count": 2, "lowercase": True, "normal_form": "auto", "language": "en", "size": 40}
    vocabulary, found = Vocabulary.build_and_encode(texts, unit=unit, reverse=reverse, **options)
    assert vocabulary == Vocabulary.build(iter(texts), unit=unit, reverse=reverse, **options)
    assert [found.row(i) for i in range(len(found))] == [vocabulary.encode(text) for text in texts]
    if unit not in ("subword", "byte"):
        assert found.share(UNK) > 0
