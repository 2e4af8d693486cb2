import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from rnnlab.data.sequences import mnist1d
from rnnlab.data.sequences.base import has_split, read_split, read_stream
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config


def test_mnist1d_is_whole_and_disturbs_no_generator():
    random.seed(5)
    np.random.seed(5)
    wanted = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    mnist1d._make.cache_clear()
    train = read_split(data_config("mnist1d"), "train")
    test = read_split(data_config("mnist1d"), "test")
    assert (random.random(), np.random.random()) == wanted
    assert len(train.inputs) == 4000
    assert len(test.inputs) == 1000
    assert {one.shape for one in train.inputs + test.inputs} == {(40, 1)}
    assert Counter(train.answers + test.answers) == {str(digit): 500 for digit in range(10)}
    whole = np.stack(train.inputs + test.inputs)
    np.testing.assert_allclose([whole.mean(), whole.std()], [0, 1], atol=1e-5)  # as the package standardises
    assert not has_split(data_config("mnist1d"), "validation")


def test_reading_imports_no_jax_and_no_package_of_a_format():
    code = "import sys, rnnlab.data.sequences.base; print({*sys.modules} & {'jax', 'scipy', 'pyarrow', 'mnist1d'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_generated_series_has_a_day_a_week_and_noise():
    examples = read_split(data_config("generated", answer="forecast"), "train")
    series = examples.inputs[0].astype(float)
    assert series.shape == (5000, 3)
    np.testing.assert_array_equal(series, read_split(data_config("generated", answer="forecast"), "train").inputs[0])
    steps = np.arange(5000)
    series = series - np.stack([np.polyval(np.polyfit(steps, one, 1), steps) for one in series.T], 1)
    power = np.abs(np.fft.rfft(series[: 168 * 29], axis=0)) ** 2
    power /= power.sum(0)
    assert (power[29 * 7] + power[29] > 0.3).all()  # once a day and once a week
    weekly = series[168:] - series[:-168]
    assert (np.corrcoef(weekly[:-1, 0], weekly[1:, 0])[0, 1]) > 0.6


def test_mnist1d_refuses_a_second_test_split():
    for split in ("train", "test"):
        with pytest.raises(UserError, match=r"test_every: 5 is not allowed with the test split of .*name='mnist1d'"):
            read_split(data_config("mnist1d", test_every=5), split)


def test_what_is_made_takes_no_files_and_its_stream_is_csv():
    with pytest.raises(UserError, match=r"config.data.files.train: 'a' is not allowed .*; it must be empty"):
        read_split(data_config("generated", answer="forecast", files__train="a"), "train")
    examples = read_stream(data_config("generated", answer="forecast"), b"first,second\n1,2\n3,4\n", "standard input")
    assert examples.inputs[0].tolist() == [[1, 2], [3, 4]]


def test_formats_that_are_not_there_and_answers_that_they_lack_are_told():
    with pytest.raises(UserError, match=r"config.data.name: 'arff' is not allowed; it must be one of ts, csv"):
        read_split(data_config("arff"), "train")
    with pytest.raises(UserError, match=r"config.data.answer: 'numbers' .* it must be one of class_per_step"):
        read_split(data_config("tagged", answer="numbers"), "train")
    with pytest.raises(UserError, match=r"config.data.files.train: '' is not allowed .*; it must name a file"):
        read_split(data_config("ts"), "train")
    with pytest.raises(UserError, match=r"no.ts: cannot be read"):
        read_split(data_config("ts", files__train="no.ts"), "train")
