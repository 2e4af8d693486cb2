"""Continuations of lines, and the scores of their tokens."""

import io
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from rnnlab.errors import UserError
from rnnlab.run import load, train
from rnnlab.tasks.language_model.prediction import escape, unescape
from tests import nightly
from tests.runs import predict


@pytest.fixture(scope="module")
def run(learnt):
    return load(learnt)


def _log_p(run, ids) -> np.ndarray:
    """Of the token after each of `ids`, `[time, vocabulary]`, read in one piece."""
    logits = run.model(jnp.asarray(ids)[:, None], run.model.start(1)).logits[:, 0]
    return scipy.special.log_softmax(np.asarray(logits, np.float64), -1)


def test_an_answer_goes_on_with_the_most_likely_tokens_whatever_stands_beside_it(run):
    vocabulary = run.task.vocabulary
    prompts = ["the c", "", "one bird hears the s", "a dog sees nothing.\\nthe ca"]
    answers = run.predict(prompts, max_tokens=10)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = vocabulary.encode("\n" + unescape(prompt) + unescape(answer))
        assert _log_p(run, ids)[-11:-1].argmax(-1).tolist() == ids[-10:]
        assert run.predict([prompt], max_tokens=10) == [answer]
    assert answers[0].startswith("at ")


def test_an_answer_may_end_where_its_line_ends(run):
    (answer,) = run.predict(["the cat sees n"], stop="line")
    assert answer == "othing."
    (longer,) = run.predict(["the cat sees n"], max_tokens=30)
    assert longer.startswith("othing.\\n")
    assert len(unescape(longer)) == 30


def test_token_scores_are_the_log_probabilities_of_the_line(run):
    lines = ["the cat sees nothing.", "", "a dog " * 30, "me!\\none"]
    for line, answer in zip(lines, run.predict(lines, token_scores=True), strict=True):
        ids = run.task.vocabulary.encode("\n" + unescape(line))
        wanted = np.take_along_axis(_log_p(run, ids[:-1]), np.array(ids[1:])[:, None], -1)[:, 0] if line else []
        np.testing.assert_allclose([float(value) for value in answer.split()], wanted, atol=1e-4)
    text = pathlib.Path(run.task.config.data.files.test).read_text()[:-1]
    scores = [float(value) for value in run.predict([escape(text)], token_scores=True)[0].split()]
    nats = run.task.evaluator(final=True)(run.params, "test")
    assert -np.mean(scores) == pytest.approx(nats["loss"], abs=1e-3)


def test_a_beam_finds_the_likeliest_answer_that_there_is(run):
    vocabulary = run.task.vocabulary
    (line,) = run.predict(["one "], max_tokens=2, beam_size=40, n_best=3)
    columns = line.split("\t")
    start = vocabulary.encode("\none ")
    first = _log_p(run, start)[-1]
    every = {}
    for a in range(3, len(vocabulary)):
        second = _log_p(run, [*start, a])[-1]
        every |= {(a, b): first[a] + second[b] for b in range(3, len(vocabulary))}
    best = sorted(every, key=every.get, reverse=True)[:3]
    assert [unescape(answer) for answer in columns[::2]] == [vocabulary.decode(ids) for ids in best]
    np.testing.assert_allclose([float(score) for score in columns[1::2]], [every[ids] for ids in best], atol=1e-3)


def test_draws_follow_from_the_seed_and_the_number_of_the_line(run):
    drawn = run.predict(["the "] * 6, temperature=1.0)
    assert len(set(drawn)) > 1
    assert run.predict(["the "] * 6, temperature=1.0) == drawn
    assert run.predict(["the "] * 3, temperature=1.0) == drawn[:3]
    greedy = run.predict(["the "])
    assert run.predict(["the "] * 2, temperature=1.0, top_k=1) == greedy * 2
    assert run.predict(["the "] * 2, temperature=1e-4) == greedy * 2


def _pieces(predictor, *steps):
    """The answers of each step, whose lines continue the texts of the step before."""
    contexts = [None] * len(steps[0])
    for lines in steps:
        answers, contexts = predictor.resume([line.encode() for line in lines], 0, contexts)
        yield answers


def test_a_text_written_in_pieces_is_the_text_written_in_one(run):
    """Beside a text of its own, in a stream and on its own."""
    whole = run.predict(["the c", "one b"], max_tokens=24)
    parts = zip(*_pieces(run.predictor(max_tokens=8), ["the c", "one b"], ["", ""], ["", ""]), strict=True)
    assert ["".join(map(unescape, each)) for each in parts] == [unescape(answer) for answer in whole]
    first, second = _pieces(run.predictor(max_tokens=8), ["a dog"], [" one bird"])
    assert [*first, *second] == [
        *run.predict(["a dog"], max_tokens=8),
        *run.predict([f"a dog{first[0]} one bird"], max_tokens=8),
    ]


def test_a_text_read_in_pieces_has_the_scores_of_the_text_read_in_one(run):
    pieces = ["the cat s", "", "ees noth" * 12, "ing.\\n", "a"]
    (whole,) = run.predict(["".join(pieces)], token_scores=True)
    scores = " ".join(answer for (answer,) in _pieces(run.predictor(token_scores=True), *([each] for each in pieces)))
    np.testing.assert_allclose([*map(float, scores.split())], [*map(float, whole.split())], atol=1e-4)


def test_a_stream_continues_its_best_answer_after_the_line_break_that_ended_it(run):
    first, second = _pieces(run.predictor(stop="line", beam_size=3, n_best=2), ["the cat sees n"], [""])
    best = first[0].split("\t")[0]
    assert best == "othing."
    expected = run.predict([f"the cat sees n{best}\\n"], stop="line", beam_size=3, n_best=2)
    assert [answer.split("\t")[::2] for answer in second] == [answer.split("\t")[::2] for answer in expected]


def test_a_warm_predictor_compiles_nothing_for_another_number_of_lines(run):
    predictor = run.predictor(batch_size=4)
    assert len(list(predictor.warm_up())) == 3
    programs = predictor._search, predictor._read
    compiled = [program._cache_size() for program in programs]
    for number in (1, 2, 3, 6):
        assert len(predictor([b"a"] * number, 0)) == number
    assert [program._cache_size() for program in programs] == compiled == [3, 3]


def test_lines_in_and_lines_out_by_the_command(run):
    answers = io.BytesIO()
    predict(run.task, io.BytesIO(b"the cat \r\nwith z\xff\n\nlast"), answers)
    lines = answers.getvalue().decode().splitlines()
    assert len(lines) == 4
    assert lines == [*run.predict(["the cat ", "with z\ufffd", "", "last"])]


@pytest.mark.parametrize("text", ["a\nb", "a\\nb", "\\", "\t\r\n\\\\n", "plain", "\\x"])
def test_what_is_escaped_comes_back(text):
    assert unescape(escape(text)) == text
    assert "\n" not in escape(text)
    assert "\t" not in escape(text)


def test_what_does_not_go_together_is_refused(run):
    with pytest.raises(UserError, match="--n_best: 2 is more than --beam_size=1"):
        run.predict(["a"], n_best=2)
    with pytest.raises(UserError, match="--token_scores: scores the given lines"):
        run.predict(["a"], n_best=1, token_scores=True)
    with pytest.raises(UserError, match="max_tokens: 0 is not allowed"):
        run.predict(["a"], max_tokens=0)


@pytest.mark.parametrize("unit", nightly.only("word", "subword"))
def test_units_that_leave_blanks_out_give_a_readable_answer(make_config, tmp_path, unit):
    run = train(make_config(data__unit=unit, data__size=60, training__steps=200, training__bptt=8), tmp_path / "w")
    (answer,) = run.predict(["the cat sees"], stop="line")
    assert answer in (" nothing.", " the sun.", " me!")
    (answer,) = run.predict(["the cat sees"], max_tokens=30)
    assert "\\n" in answer
    parts = _pieces(run.predictor(max_tokens=10), ["the cat sees"], [""], [""])
    assert "".join(part for (part,) in parts) == answer


def test_bytes_may_begin_within_a_character_and_need_not_be_utf8(make_config, tmp_path):
    run = train(make_config(data__unit="byte", training__steps=20), tmp_path / "w")
    answers = io.BytesIO()
    predict(run.task, io.BytesIO(b"\xe9\xff\n\n" + "é€\n".encode()), answers, token_scores=True)
    assert [len(line.split()) for line in answers.getvalue().decode().split("\n")] == [2, 0, 5, 0]
    assert len(run.predict(["\ufffd", "€"], temperature=100.0)) == 2
