import dataclasses
import errno
import io
import json
import logging

import numpy as np
import pytest

from rnnlab.data.vocabulary import Vocabulary
from rnnlab.errors import UserError
from rnnlab.training.workdir import open_task
from tests.runs import predict


def _predict(workdir, text: bytes, **options) -> list[str]:
    answers = io.BytesIO()
    predict(open_task(workdir), io.BytesIO(text), answers, **options)
    return answers.getvalue().decode().removesuffix("\n").split("\n")


def test_every_line_gets_its_answer_in_order_and_an_empty_one_an_empty_one(trained):
    words = ["abc", "", "f", "decade", "  ", "bad\r", "fade"]
    answers = _predict(trained, "\n".join(words).encode())
    assert answers == [" ".join(word.strip().upper()) for word in words]


def test_unknown_overlong_and_broken_lines_are_answered_and_counted(trained, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    lines = [b"abxc", b"\xff\xfe", b"ab" * 5000, b"cab"]
    answers = _predict(trained, b"\n".join(lines))
    assert len(answers) == 4
    assert answers[3] == "C A B"
    assert "2 of 4 lines had unknown symbols" in caplog.text
    assert "1 of 4 lines were longer than the 6 symbols of training" in caplog.text
    assert "1 of 4 lines were cut at 24 symbols" in caplog.text


def test_n_best_gives_outputs_with_falling_scores_the_best_one_first(trained):
    best = _predict(trained, b"abc\n\nfeed\n")
    lines = _predict(trained, b"abc\n\nfeed\n", n_best=2)
    assert lines[1] == ""
    assert _predict(trained, b"\n", n_best=1, token_scores=True) == [""]
    for one, line in zip(best, lines, strict=True):
        texts, scores = line.split("\t")[::2], [float(s) for s in line.split("\t")[1::2]]
        assert texts[0] == one
        assert scores == sorted(scores, reverse=True)
        assert len(set(texts)) == len(texts) == (2 if one else 1)


def test_more_outputs_than_the_beam_holds_are_refused(trained):
    with pytest.raises(UserError, match="--n_best: 9 is more than --beam_size=2"):
        _predict(trained, b"abc", n_best=9)


def test_what_is_drawn_follows_from_the_seed_and_the_number_of_the_line(trained):
    text = b"abc\nfeed\nabc\nabc\nbad\n" * 8
    drawn = {}
    for size in (1, 7):
        experiment = open_task(trained)
        experiment.config.evaluation.update({"temperature": 5.0, "batch_size": size, "beam_size": 1})
        answers = io.BytesIO()
        predict(experiment, io.BytesIO(text), answers)
        drawn[size] = answers.getvalue().splitlines()
    assert drawn[1] == drawn[7]
    assert len(set(drawn[1][::5])) > 1  # the same word, drawn anew for each line
    assert drawn[1][::5] != drawn[1][2::5]


def test_drawing_from_the_likeliest_alone_is_greedy(trained):
    experiment = open_task(trained)
    experiment.config.evaluation.update({"temperature": 2.0, "top_k": 1, "beam_size": 1})
    answers = io.BytesIO()
    predict(experiment, io.BytesIO(b"abc\nfeed\n"), answers)
    assert answers.getvalue() == b"A B C\nF E E D\n"


def test_token_scores_are_the_terms_of_an_outputs_log_probability(trained):
    (line,) = _predict(trained, b"feed\n", n_best=2, token_scores=True)
    columns = line.split("\t")
    assert len(columns) == 6
    for text, score, tokens in (columns[:3], columns[3:]):
        terms = [float(term) for term in tokens.split(" ")]
        assert len(terms) == len(text.split(" ")) + 1  # EOS's
        assert sum(terms) == pytest.approx(float(score), abs=1e-4)


def _speaking(workdir, **changes):
    """A run whose target vocabulary is another one of the same size."""
    experiment = open_task(workdir)
    experiment.target.save(workdir / "other.json")
    description = json.loads((workdir / "other.json").read_text()) | changes
    return dataclasses.replace(experiment, target=Vocabulary(description))


def _answers(experiment, text: bytes, **options) -> list[str]:
    answers = io.BytesIO()
    predict(experiment, io.BytesIO(text), answers, **options)
    return answers.getvalue().decode().removesuffix("\n").split("\n")


def test_what_breaks_lines_and_columns_within_an_output_becomes_a_blank(trained):
    tokens = [*open_task(trained).target.tokens[:4], "A\tA", "B\nB", "C\rC", "\t", "\n", "F", "G"]
    experiment = _speaking(trained, tokens=tokens)
    assert _answers(experiment, b"abc\n") == ["A\tA B B C C"]
    for options, columns in (({"n_best": 2}, 4), ({"token_scores": True}, 2), ({"n_best": 2, "token_scores": True}, 6)):
        (line,) = _answers(experiment, b"abcde\n", **options)
        assert line.count("\t") == columns - 1
        assert line.split("\t")[0] == "A A B B C C    "


def test_token_scores_stand_in_the_order_of_the_text(trained):
    (forwards,) = _predict(trained, b"feed\n", token_scores=True)
    (backwards,) = _answers(_speaking(trained, reverse=True), b"feed\n", token_scores=True)
    (text, scores), (reversed_text, reversed_scores) = forwards.split("\t"), backwards.split("\t")
    assert reversed_text.split(" ") == text.split(" ")[::-1]
    *tokens, end = scores.split(" ")
    assert reversed_scores.split(" ") == [*tokens[::-1], end]


def test_attention_is_written_for_each_line_by_its_number(trained, tmp_path):
    _predict(trained, b"abc\n\nfeed\n", attention=tmp_path / "seen")
    assert sorted(p.name for p in (tmp_path / "seen").iterdir()) == [
        f"line_{i}.{kind}" for i in (1, 3) for kind in ("npy", "png")
    ]
    assert np.load(tmp_path / "seen" / "line_3.npy").shape == (5, 4)


def test_attention_of_a_model_without_is_refused(trained, tmp_path):
    experiment = open_task(trained)
    experiment.config.model.attention = "none"
    with pytest.raises(UserError, match=r"--attention: the model of .* has no attention"):
        experiment.predictor({}, attention=tmp_path / "seen")


class _Breaking(io.RawIOBase):
    """Lines that end in an error."""

    def __init__(self, text: bytes, error: Exception):
        self.lines, self.error = text.splitlines(keepends=True), error

    def __iter__(self):
        yield from self.lines
        raise self.error


@pytest.mark.parametrize("text", [b"", b"abc\nfeed\n", b"abc\n" * 5000], ids=["none", "two", "chunks"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (MemoryError(), "MemoryError"),
        (ValueError("I/O operation on closed file."), "I/O operation on closed file"),
    ],
    ids=["device", "memory", "closed"],
)
def test_lines_that_cannot_be_read_end_with_a_word_after_the_answers_to_those_before(trained, text, error, message):
    answers = io.BytesIO()
    with pytest.raises(UserError, match=f"the lines to predict cannot be read any further: {message}"):
        predict(open_task(trained), _Breaking(text, error), answers)
    spelt = {b"abc": b"A B C", b"feed": b"F E E D"}
    assert answers.getvalue().splitlines() == [spelt[line] for line in text.splitlines()]
