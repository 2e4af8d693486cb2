from tensorflow_datasets.core.hashing import Hasher

from rnnlab.data.cmudict import dictionary_path, read_dictionary, read_splits, split_of
from rnnlab.data.corpus import Corpus
from rnnlab.data.example import Example


def test_stress_is_removed_and_pronunciations_kept_together_without_repetition(tmp_path):
    path = tmp_path / "cmudict.dict"
    path.write_text("read R EH1 D # past\nread(2) R IY1 D\nread(3) R IY0 D\n'bout B AW1 T\n", encoding="utf-8")
    assert read_dictionary(path) == {"read": ["R EH D", "R IY D"], "'bout": ["B AW T"]}


def test_splits_have_the_announced_sizes_and_the_whole_dictionary():
    words = read_dictionary(dictionary_path())
    sizes = {split: sum(split_of(word) == split for word in words) for split in ("train", "validation", "test")}
    assert sum(sizes.values()) == len(words)
    assert abs(sizes["train"] - 117_000) < 500
    assert abs(sizes["validation"] - 2_500) < 100
    assert abs(sizes["test"] - 6_500) < 200
    phones = {phone for answers in words.values() for answer in answers for phone in answer.split()}
    assert len(phones) == 39
    assert not any(phone[-1].isdigit() for phone in phones)


def test_the_words_of_a_split_are_in_the_order_of_tfds():
    words = {f"word{i}": [f"W {i}", "V"] for i in range(300)} | {"'bout": ["B"]}
    splits = read_splits(words)
    assert sorted(word for found in splits.values() for word, _ in found) == sorted(words)
    for split, found in splits.items():
        order = [word for word, _ in found]
        assert order
        assert order == sorted(order, key=Hasher(split).hash_key)
        assert all(split_of(word) == split and words[word] == answers for word, answers in found)


def test_the_corpus_holds_every_pronunciation_and_names_its_examples_by_their_words():
    corpus = Corpus("cmudict")
    assert corpus.splits == ("train", "validation", "test")
    assert len(corpus.read("validation")) == 2499
    words = dict(corpus.read("test"))
    assert words["upsurge"] == ("AH P S ER JH",)
    assert all(isinstance(example, Example) for example in corpus.read("validation"))
    first, second = (example.source for example in corpus.read("validation")[:2])
    assert corpus.describe("validation", [0, 1]) == f"{first!r}, {second!r}"
