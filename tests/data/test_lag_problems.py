import math

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from rnnlab.data.lag_problems import LAG_PROBLEMS, LagProblem, associative_recall, encode_by_pillow, mnist, wave

LAGS = {
    "adding": 30,
    "copy_memory": 15,
    "temporal_order": 40,
    "parity": 9,
    "associative_recall": 40,
    "wave": 25,
    "digits": 64,
}


def _draw(task: LagProblem, batch=500, split="train", seed=0):
    return jax.tree.map(np.asarray, task.draw(jax.random.key(seed), batch, split))


@pytest.mark.parametrize("name", LAGS)  # mnist comes from the network
def test_a_key_gives_one_batch_and_each_split_another(name):
    task = LAG_PROBLEMS[name](LAGS[name])
    batch, again, other = _draw(task), _draw(task), _draw(task, split="test")
    for value, same in zip(batch, again, strict=True):
        np.testing.assert_array_equal(value, same)
    assert not np.array_equal(batch.inputs, other.inputs)
    assert batch.inputs.shape[:2] == batch.labels.shape == batch.weights.shape == (task.time, 500)
    if batch.inputs.ndim == 2:
        assert set(np.unique(batch.inputs)) <= set(range(task.in_features))
    else:
        assert batch.inputs.shape[2] == task.in_features
    assert task.regression or batch.labels.max() < task.out_features


def test_adding_answers_the_sum_of_one_number_of_each_half():
    task = LAG_PROBLEMS["adding"](31)
    batch = _draw(task, 4000)
    marks = batch.inputs[..., 1].astype(bool)
    assert (marks[:15].sum(0) == 1).all()
    assert (marks[15:].sum(0) == 1).all()
    sums = np.array([batch.inputs[marks[:, i], i, 0].sum() for i in range(4000)])
    np.testing.assert_allclose(batch.labels[-1], sums, rtol=1e-6)
    assert (batch.weights.sum(0) == 1).all()
    assert batch.weights[-1].all()
    assert np.mean((batch.labels[-1] - 1) ** 2) == pytest.approx(task.floor, rel=0.05)


def test_copy_memory_shows_ten_symbols_and_asks_for_them_after_the_sign():
    task = LAG_PROBLEMS["copy_memory"](15)
    batch = _draw(task)
    assert task.time == 35
    np.testing.assert_array_equal(batch.inputs[:10], batch.labels[-10:])
    assert (batch.inputs[:10] < 8).all()
    assert (batch.inputs[10:24] == 8).all()
    assert (batch.inputs[24] == 9).all()
    assert (batch.inputs[25:] == 8).all()
    assert (batch.labels[:25] == 8).all()
    assert batch.weights.all()
    assert LAG_PROBLEMS["copy_memory"](1000).floor == pytest.approx(0.0204, abs=5e-5)  # Bai et al. 2018


def test_temporal_order_asks_for_the_two_relevant_symbols():
    batch = _draw(LAG_PROBLEMS["temporal_order"](40))
    for column in range(500):
        (first, second) = np.flatnonzero(batch.inputs[:, column] >= 4)
        assert 4 <= first < 8
        assert 20 <= second < 24
        wanted = 2 * (batch.inputs[first, column] - 4) + batch.inputs[second, column] - 4
        assert batch.labels[-1, column] == wanted
    assert (np.bincount(batch.labels[-1]) > 90).all()


def test_parity_counts_every_bit():
    batch = _draw(LAG_PROBLEMS["parity"](9))
    np.testing.assert_array_equal(batch.labels[-1], np.bitwise_xor.reduce(batch.inputs))
    assert batch.labels[-1].mean() == pytest.approx(0.5, abs=0.08)


def test_a_wave_is_told_from_two_values_and_not_from_one():
    """Least squares find the two coefficients; with one value alone they leave the floor."""
    task = wave(200, period=10, decay=0.9)
    batch = _draw(task, 500)
    np.testing.assert_array_equal(batch.inputs[1:, :, 0], batch.labels[:-1])
    assert batch.weights.all()
    assert batch.inputs[0].std() == pytest.approx(1, abs=0.08)  # from the first step on
    assert batch.inputs.std() == pytest.approx(1, abs=0.02)
    both = np.stack([batch.inputs[1:, :, 0].ravel(), batch.inputs[:-1, :, 0].ravel()], axis=1)
    found = np.linalg.lstsq(both, batch.labels[1:].ravel(), rcond=None)[0]
    np.testing.assert_allclose(found, [1.8 * math.cos(0.2 * math.pi), -0.81], atol=0.01)
    one = both[:, :1]
    left = batch.labels[1:].ravel() - one @ np.linalg.lstsq(one, batch.labels[1:].ravel(), rcond=None)[0]
    assert np.mean(left**2) == pytest.approx(task.floor, rel=0.02)


@pytest.mark.parametrize("options", [{"period": 2}, {"decay": 1.0}, {"decay": 0.0}])
def test_a_wave_that_is_none_is_refused(options):
    with pytest.raises(ValueError, match="wave: the period must be at least 3 and the decay between 0 and 1"):
        wave(10, **options)


def test_associative_recall_asks_for_each_key_once():
    task = associative_recall(40, pairs=5, vocabulary=32)
    batch = _draw(task, 100)
    assert task.floor == pytest.approx(math.log(16))
    for column in range(100):
        inputs, labels, weights = (value[:, column] for value in batch)
        answers = dict(zip(inputs[:10:2], inputs[1:10:2], strict=True))
        assert len(answers) == 5
        assert max(answers) < 16 <= min(answers.values())
        asked = np.flatnonzero(weights)
        assert sorted(inputs[asked]) == sorted(answers)
        assert (asked >= 10).all()
        assert [answers[key] for key in inputs[asked]] == labels[asked].tolist()
        assert (np.delete(inputs, np.concatenate([np.arange(10), asked])) >= 16).all()


def test_digits_by_pixel_are_the_rows_read_on_and_no_image_is_in_both_splits():
    images = load_digits().images.reshape(-1, 64) / 16
    known = {image.astype(np.float32).tobytes(): index for index, image in enumerate(images)}
    seen = {}
    for split in ("train", "test"):
        pixels, rows = (_draw(LAG_PROBLEMS["digits"](lag), 2000, split) for lag in (64, 8))
        np.testing.assert_array_equal(pixels.inputs[:, :, 0].T, rows.inputs.transpose(1, 0, 2).reshape(2000, 64))
        seen[split] = {known[column.tobytes()] for column in np.ascontiguousarray(pixels.inputs[:, :, 0].T)}
        for column in range(20):
            index = known[np.ascontiguousarray(pixels.inputs[:, column, 0]).tobytes()]
            assert load_digits().target[index] == pixels.labels[-1, column]
    assert not seen["train"] & seen["test"]
    assert len(seen["test"]) > 250


def _prepare_small_mnist(folder, images):
    """A set of the name and the make of TFDS's MNIST, with images of our own."""
    version = tfds.builder_cls("mnist").VERSION
    with tfds.core.registered.skip_registration():

        class Mnist(tfds.core.GeneratorBasedBuilder):
            VERSION = version

            def _info(self):
                features = {
                    "image": tfds.features.Image(shape=(28, 28, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
                return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

            def _split_generators(self, _):
                return {split: self._generate_examples(split) for split in images}

            def _generate_examples(self, split):
                for index, image in enumerate(images[split]):
                    yield index, {"image": image, "label": int(image[0, 0, 0]) % 10}

    builder = Mnist(data_dir=str(folder), file_format="array_record")
    encode_by_pillow(builder)
    builder.download_and_prepare()


def test_mnist_is_read_through_tfds_with_its_own_test_split(tmp_path):
    rng = np.random.default_rng(0)
    images = {
        "train": rng.integers(0, 256, (30, 28, 28, 1), np.uint8),
        "test": rng.integers(0, 256, (20, 28, 28, 1), np.uint8),
    }
    _prepare_small_mnist(tmp_path, images)
    seen = {"train": set(), "validation": set(), "test": set()}
    for split, drawn in seen.items():
        pixels, rows = (_draw(mnist(lag, prepared=str(tmp_path)), 200, split) for lag in (784, 28))
        np.testing.assert_array_equal(pixels.inputs[:, :, 0].T, rows.inputs.transpose(1, 0, 2).reshape(200, 784))
        np.testing.assert_array_equal(pixels.labels[-1], np.rint(pixels.inputs[0, :, 0] * 255) % 10)
        drawn |= {image.tobytes() for image in np.rint(pixels.inputs[:, :, 0].T * 255).astype(np.uint8)}
    assert len(seen["validation"]) == 5
    assert not seen["train"] & seen["validation"]
    assert seen["train"] | seen["validation"] == {image.tobytes() for image in images["train"]}
    assert seen["test"] == {image.tobytes() for image in images["test"]}


@pytest.mark.parametrize(
    ("name", "lag", "message"),
    [
        ("adding", 1, "at least 2"),
        ("mnist", 64, "28 .row by row. and 784"),
        ("digits", 9, "8 .row by row. and 64"),
        ("associative_recall", 15, "at least 16 steps"),
    ],
)
def test_lags_that_a_task_cannot_have_are_refused(name, lag, message):
    with pytest.raises(ValueError, match=message):
        LAG_PROBLEMS[name](lag)
