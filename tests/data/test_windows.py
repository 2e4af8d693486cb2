import numpy as np
import pytest

from rnnlab.data.pipeline import evaluation_batches, training_batches
from rnnlab.data.windows import Parts, Span, Windows
from rnnlab.errors import UserError

SERIES = [np.stack([np.arange(10.0), np.arange(10.0) + 50], axis=1), np.arange(100.0, 114.0).reshape(7, 2)]


def test_every_window_of_every_series_is_there_in_order_of_time():
    windows = Windows(SERIES, [Span(0, 10), Span(0, 7)], look_back=3, horizon=2)
    found = windows.assemble(range(len(windows)), windows.size, len(windows))
    expected = [(series, start) for series, steps in ((0, 10), (1, 7)) for start in range(steps - 3 - 2 + 1)]
    assert len(windows) == len(expected) == 6 + 3
    for row, (series, start) in enumerate(expected):
        np.testing.assert_array_equal(found.inputs[:, row], SERIES[series][start : start + 3])
        np.testing.assert_array_equal(found.targets[:, row], SERIES[series][start + 3 : start + 5])
        assert windows.place(row) == (series, start + 3)
    assert found.weights.tolist() == [1.0] * 9


def test_the_look_back_of_a_later_split_reaches_into_the_rows_before_it_and_its_horizon_stays_within():
    windows = Windows(SERIES[:1], [Span(6, 9)], look_back=4, horizon=2)
    found = windows.assemble([0, 1], windows.size, 3)
    assert len(windows) == 2
    assert found.inputs[:, :2, 0].T.tolist() == [[2, 3, 4, 5], [3, 4, 5, 6]]
    assert found.targets[:, :2, 0].T.tolist() == [[6, 7], [7, 8]]
    assert found.weights.tolist() == [1, 1, 0]


def test_a_series_without_a_window_has_none():
    windows = Windows(SERIES, [Span(0, 10), Span(0, 7)], look_back=5, horizon=3)
    assert windows.counts == [3, 0]


@pytest.mark.parametrize(
    ("text", "rows", "expected"),
    [
        ("8640,2880,2880", 17420, [(0, 8640), (8640, 11520), (11520, 14400)]),
        ("0.7,0.1,0.2", 26304, [(0, 18412), (18412, 21044), (21044, 26304)]),  # as the field divides Electricity
        ("0.5,0.2,0", 101, [(0, 50), (50, 70), (70, 70)]),
    ],
)
def test_rows_are_divided_by_counts_or_shares(text, rows, expected):
    assert [tuple(span) for span in Parts.read(text).spans(rows)] == expected


@pytest.mark.parametrize("text", ["", "1,2", "a,b,c", "0.7,0.2,0.2", "10,0,5", "-1,2,3", "10.5,3,3", "nan,0.1,0.1"])
def test_a_division_that_is_none_is_refused(text):
    with pytest.raises(UserError, match=r"config.data.rows: .* is not allowed; it must be the rows of"):
        Parts.read(text)


def test_more_rows_than_there_are_cannot_be_divided():
    with pytest.raises(ValueError, match="25 rows are more than the 24 available"):
        Parts.read("20,3,2").spans(24)


def test_training_takes_each_window_once_an_epoch_and_resumes():
    windows = Windows(SERIES, [Span(0, 10), Span(0, 7)], look_back=3, horizon=2)

    def begin():
        return iter(training_batches(windows, [windows.size], 3, seed=1))

    batches = begin()
    seen = []
    for _ in range(3):
        next(batches)
        seen += batches.rows
    assert sorted(seen) == list(range(9))
    position = batches.get_state()
    following = next(batches)
    other = begin()
    other.set_state(position)
    for mine, theirs in zip(next(other), following, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_evaluation_takes_each_window_once():
    windows = Windows(SERIES, [Span(0, 10), Span(0, 7)], look_back=3, horizon=2)
    batches = list(evaluation_batches(windows, [windows.size], 4))
    assert [row for rows, _ in batches for row in rows] == list(range(9))
    assert sum(batch.weights.sum() for _, batch in batches) == 9


def test_missing_values_are_read_as_they_are_filled_and_never_predicted():
    missing = [np.zeros((10, 2), bool), np.zeros((7, 2), bool)]
    missing[0][4, 1] = missing[0][7:9] = missing[1][2] = True
    windows = Windows(SERIES, [Span(0, 10), Span(0, 7)], look_back=3, horizon=2, missing=missing)
    expected = [(0, 3), (0, 4), (0, 5), (0, 6), (0, 8), (1, 3), (1, 4), (1, 5)]  # not (0, 7), which is missing whole
    assert [windows.place(row) for row in range(len(windows))] == expected
    assert windows.counts == [5, 3]
    found = windows.assemble(range(len(windows)), windows.size, len(windows) + 1)
    for row, (series, start) in enumerate(expected):
        np.testing.assert_array_equal(found.inputs[:, row], SERIES[series][start - 3 : start])
        there = np.where(missing[series], np.nan, SERIES[series])
        np.testing.assert_array_equal(found.targets[:, row], there[start : start + 2])
    assert not np.isnan(found.targets[:, -1]).any()
