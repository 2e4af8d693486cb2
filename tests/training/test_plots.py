import matplotlib.image
import numpy as np

from rnnlab.training.experiment import create_experiment, open_experiment
from rnnlab.training.plots import plot_attention
from rnnlab.training.step import split_model


def test_curves_and_attention_are_pictures_with_something_on_them(trained):
    names = ["curves.png", *(f"attention_{i}.png" for i in range(4))]
    for name in names:
        picture = matplotlib.image.imread(trained / name)
        assert picture.shape[0] > 100
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50


def test_the_brightest_cell_of_each_row_moves_along_the_source(trained, monkeypatch):
    """Spelling is monotonic, and so must be where a model looks that has learnt it."""
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.imshow", lambda axis, weights, **_: drawn.append(weights))
    experiment = open_experiment(trained)
    plot_attention(experiment, experiment.best_params()[1], [("abcdef", "A B C D E F")])
    (weights,) = drawn
    assert weights.shape == (7, 6)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert np.all(np.diff(weights[:6].argmax(1)) >= 0)


def test_a_model_without_attention_has_no_such_picture(tiny_config, tmp_path):
    experiment, _ = create_experiment(tiny_config(model__attention="none"), tmp_path)
    _, params = split_model(experiment.make_model())
    assert plot_attention(experiment, params, [("abc", "A B C")]) == []
