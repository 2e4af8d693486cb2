import pytest

from rnnlab.data.cmudict import split_of
from rnnlab.flow_lab import seq2seq
from rnnlab.flow_lab.seq2seq import Translation, Variant, translate

SETTING = Translation("gru", Variant(), 6, features=8, batch_size=8, learning_rate=0.003, steps=2)


def _pairs(target, split="test"):
    setting = Translation("gru", Variant(target=target), 6, features=8, batch_size=8, learning_rate=0.003, steps=2)
    return [(source, output.split()) for source, output in seq2seq._pairs(setting, split)]


def test_a_variant_is_read_from_its_parts():
    assert Variant.read("attention:general+dropout:0.3") == Variant(attention="general", dropout=0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attention:generous", "attention: unknown value 'generous'; allowed: none, dot, general"),
        ("dropout:1", "dropout: '1' is not a rate; allowed: at least 0 and below 1"),
        ("dropout:much", "dropout: 'much' is not a rate"),
        ("context", "context: unknown value ''; allowed: init, every_step"),
        ("bridge:dense", "intervention: unknown value 'bridge'; allowed: context, attention, dropout, target"),
    ],
)
def test_an_unknown_variant_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Variant.read(text)


def test_targets_are_what_their_names_say():
    for source, output in _pairs("copy"):
        assert output == list(source)
    for source, output in _pairs("double"):
        assert (output[::2], output[1::2]) == (list(source), list(source))
    for source, output in _pairs("halve"):
        assert len(output) == (len(source) + 1) // 2
        assert output == [symbol for at, symbol in enumerate(source) if at % 2 == 0]


def test_words_to_pronounce_are_of_their_split():
    assert {split_of(source) for source, _ in _pairs("phones")} == {"test"}
    assert {split_of(source) for source, _ in _pairs("phones", "train")} == {"train"}


def test_the_test_split_has_each_length_as_often():
    lengths = [len(source) for source, _ in _pairs("copy")]
    assert {length: lengths.count(length) for length in range(1, 7)} == dict.fromkeys(range(1, 7), 100)


def test_outputs_are_counted_as_right_by_the_length_of_their_source(tmp_path, monkeypatch):
    """A predictor that copies only sources of up to 3 symbols."""

    def outputs(lines, _):
        return [" ".join(line.decode()) if len(line) <= 3 else "a" for line in lines]

    monkeypatch.setattr(seq2seq, "make_predictor", lambda *_: outputs)
    monkeypatch.setattr(seq2seq, "_SPLITS", {"train": 30, "validation": 10, "test": 12})
    figures = translate(SETTING, 0, tmp_path / "run")
    assert figures[:-1] == [(length, "right", float(length <= 3)) for length in range(1, 7)]
    assert figures[-1][:2] == (2, "loss")
    assert 0 < figures[-1][2] < 4
