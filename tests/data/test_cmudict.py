from rnnlab.data.cmudict import dictionary_path, read_dictionary, split_of


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
