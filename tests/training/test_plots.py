import matplotlib.image
import numpy as np

from rnnlab.training.evaluation import Evaluator
from rnnlab.training.experiment import open_experiment
from rnnlab.training.plots import write_attention


def test_curves_and_attention_are_pictures_with_something_on_them(trained):
    names = ["curves.png", *(f"attention_{i}.png" for i in range(4))]
    for name in names:
        picture = matplotlib.image.imread(trained / name)
        assert picture.shape[0] > 100
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 50


def test_the_brightest_cell_of_each_row_moves_along_the_source(trained, tmp_path):
    """Spelling is monotonic, and so must be where a model looks that has learnt it."""
    experiment = open_experiment(trained)
    source, said = experiment.source.encode("abcdef"), np.array(experiment.target.encode("A B C D E F"))
    evaluator = Evaluator(experiment, beam_size=1)
    stems = [tmp_path / "spelt", tmp_path / "empty"]
    write_attention(evaluator, experiment.best_params()[1], [source, []], [said, said[:0]], stems)
    weights = np.load(tmp_path / "spelt.npy")
    assert weights.shape == (7, 6)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert np.all(np.diff(weights[:6].argmax(1)) >= 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spelt.npy", "spelt.png"]
