import logging

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest

from rnnlab.pictures import drawable, picture, survived
from rnnlab.tasks.seq2seq import attention
from rnnlab.tasks.seq2seq.attention import write_attention
from rnnlab.tasks.seq2seq.evaluation import Evaluator
from rnnlab.training import plots
from rnnlab.training.plots import plot_curves
from rnnlab.training.report import best_params
from rnnlab.training.workdir import open_task


def test_curves_and_attention_are_pictures_with_something_on_them(trained):
    plot_curves(open_task(trained))
    names = ["curves.png", *(f"attention_{i}.png" for i in range(4))]
    for name in names:
        picture = matplotlib.image.imread(trained / name)
        assert picture.shape[0] > 100
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50


def test_the_brightest_cell_of_each_row_moves_along_the_source(trained, tmp_path):
    """Spelling is monotonic, and so must be where a model looks that has learnt it."""
    experiment = open_task(trained)
    source, said = experiment.source.encode("abcdef"), np.array(experiment.target.encode("A B C D E F"))
    evaluator = Evaluator(experiment, beam_size=1)
    stems = [tmp_path / "spelt", tmp_path / "empty"]
    write_attention(evaluator, best_params(experiment)[1], [source, []], [said, said[:0]], stems)
    weights = np.load(tmp_path / "spelt.npy")
    assert weights.shape == (7, 6)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert np.all(np.diff(weights[:6].argmax(1)) >= 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spelt.npy", "spelt.png"]


@pytest.mark.parametrize(
    "tokens",
    [
        ["$5^$", "$$", "$", "a_b", "x^2", "%", "\\frac{1}", "$\\alpha$", "{", "#", "&", "~"],
        ["\n", "a\nb", "\t", "\r\n", "\0", "\x85", "\ud800", "\u202e", "\u05d0\u05d1", "e\u0301", "👩‍👩‍👧"],
        ["", " ", "  "],
        ["a" * 5000, "日" * 300],
        [""],
        ["ab"] * 1500,
    ],
    ids=["formula", "signs", "blank", "long", "one", "many"],
)
def test_attention_over_any_tokens_is_drawn_as_they_are(tmp_path, tokens):
    """With warnings as errors: no formula, no missing glyph, no label without room, no picture without bounds."""
    path = tmp_path / "a.png"
    attention._plot_attention(path, np.eye(len(tokens), 3), ["a", "b", "c"], tokens)
    attention._plot_attention(path, np.eye(3, len(tokens)), tokens, ["a", "b", "c"])
    height, width = matplotlib.image.imread(path).shape[:2]
    assert 100 <= height <= 3000
    assert 100 <= width <= 3000


def test_texts_in_a_picture_are_drawn_literally(tmp_path):
    with picture(tmp_path / "a.png", 2, 2) as figure:
        axis = figure.subplots()
        axis.set(title="$x$", xlabel="$x$")
        figure.draw_without_rendering()
        assert not any(text.get_parse_math() for text in (axis.title, axis.xaxis.label, *axis.get_xticklabels()))


def test_a_token_is_drawn_by_its_code_points_where_it_cannot_be_drawn_itself():
    assert [drawable(text) for text in ("ab", "", "é", "\t", "a\n", "\ud800")] == [
        "ab",
        "",
        "é",
        "U+0009",
        "U+0061 U+000A",
        "U+D800",
    ]
    assert len(drawable("a" * 99)) == len(drawable("\n" * 99)) < 30


@pytest.mark.parametrize("error", [ValueError("image too large"), MemoryError(), OSError(28, "No space left")])
def test_a_picture_that_fails_is_a_warning(trained, tmp_path, monkeypatch, caplog, error):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", fail)
    experiment = open_task(trained)
    plot_curves(experiment)
    assert f"{trained / 'curves.png'} could not be drawn ({str(error) or 'MemoryError'})" in caplog.text
    monkeypatch.setattr(plots, "read_metrics", fail)
    plot_curves(experiment)
    with survived(tmp_path / "other.png"):
        fail()
    assert caplog.text.count("could not be drawn") == 3
    monkeypatch.setattr(attention, "drawable", fail)
    evaluator = Evaluator(experiment, beam_size=1)
    said = np.array(experiment.target.encode("A B C D E F"))
    write_attention(evaluator, best_params(experiment)[1], [[4, 5, 6, 7, 8, 9]], [said], [tmp_path / "seen"])
    assert (tmp_path / "seen.npy").exists()
    assert caplog.text.count("could not be drawn") == 4
