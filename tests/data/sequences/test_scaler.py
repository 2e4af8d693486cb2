import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rnnlab.data.sequences import scaler as scaler_module
from rnnlab.data.sequences.base import Scaler


@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_mean_and_deviation_are_those_of_all_steps_together(seed, block):
    random = np.random.default_rng(seed)
    sequences = [random.normal(5, 3, (random.integers(1, 40), 3)).astype(np.float32) for _ in range(7)]
    for sequence in sequences:
        sequence[random.random(sequence.shape) < 0.2] = np.nan
    sequences[0][:, 1] = 1.0  # one at least
    whole = np.concatenate(sequences).astype(float)
    before = scaler_module._BLOCK
    scaler_module._BLOCK = block
    try:
        scaler = Scaler.learn(sequences)
    finally:
        scaler_module._BLOCK = before
    np.testing.assert_allclose(scaler.mean, np.nan_to_num(np.nanmean(whole, 0)), rtol=1e-9)
    np.testing.assert_allclose(scaler.deviation, np.nanstd(whole, 0), rtol=1e-6)


def test_a_feature_that_is_constant_is_not_scaled():
    sequence = np.array([[0.1, np.nan], [0.1, np.nan]], np.float32)
    scaler = Scaler.learn([sequence] * 1000)
    assert scaler.deviation.tolist() == [1, 1]
    np.testing.assert_allclose(scaler.apply(sequence), np.zeros((2, 2)), atol=1e-6)


def test_it_is_saved_and_its_inverse_is_the_data(tmp_path):
    sequence = np.random.default_rng(0).normal(1e3, 7, (50, 2)).astype(np.float32)
    scaler = Scaler.learn([sequence])
    scaler.save(tmp_path / "scaler.json")
    loaded = Scaler.load(tmp_path / "scaler.json")
    scaled = loaded.apply(sequence)
    np.testing.assert_array_equal(scaled, scaler.apply(sequence))
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-5)
    np.testing.assert_allclose(loaded.inverse(scaled), sequence, rtol=1e-6)
