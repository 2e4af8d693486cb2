import itertools
import sys

import numpy as np
import pytest

from rnnlab.data.pipeline import (
    Lengths,
    Pairs,
    batch_widths,
    bucket_sizes,
    evaluation_batches,
    fitting_size,
    training_batches,
)
from rnnlab.data.vocabulary import BOS, EOS, PAD


def _encoded(number=60, longest=9, seed=0):
    rng = np.random.default_rng(seed)
    return [[rng.integers(4, 30, rng.integers(1, longest)).tolist() for _ in range(number)] for _ in range(2)]


def _pairs(*args):
    return Pairs(*_encoded(*args))


def test_a_batch_holds_each_pair_shifted_between_start_and_end():
    pairs = Pairs([[5, 6], [7]], [[8], [9, 10]])
    batch = pairs.assemble([0, 1], (3, 4), 3)
    assert batch.source.T.tolist() == [[5, 6, PAD], [7, PAD, PAD], [PAD] * 3]
    assert batch.inputs.T.tolist() == [[BOS, 8, PAD, PAD], [BOS, 9, 10, PAD], [PAD] * 4]
    assert batch.labels.T.tolist() == [[8, EOS, PAD, PAD], [9, 10, EOS, PAD], [PAD] * 4]
    assert batch.source_lengths.tolist() == [2, 1, 0]
    assert batch.target_lengths.tolist() == [2, 3, 0]
    assert batch.tokens == 5
    assert batch.padding == (9 - 3 + 12 - 5, 21)


def test_no_target_of_training_comes_near_the_longest_output_and_longer_sources_get_longer_ones():
    sources, targets = _encoded(200, 30)
    lengths = Lengths.of(Pairs(sources, targets))
    assert lengths.ratio == max(len(t) / len(s) for s, t in zip(sources, targets, strict=True))
    limits = lengths.output_limit(np.array([len(source) for source in sources]))
    assert all(1.5 * len(target) + 10 <= limit for target, limit in zip(targets, limits, strict=True))
    beyond = lengths.output_limit(np.arange(1, 100))
    assert (np.diff(beyond) >= 0).all()
    assert (np.diff(beyond[lengths.source :]) >= 1.5 * lengths.ratio - 1).all()
    numbers = Lengths.of(Pairs([[7]], [[8] * 500]))  # a target many times as long as its source
    assert numbers.output_limit(np.array([1, 2])).tolist() == [760, 1510]


def test_sequences_may_be_empty():
    batch = Pairs([[], []], [[], []]).assemble([0, 1], (2, 2), 3)
    assert (batch.source == PAD).all()
    assert batch.inputs.T.tolist() == [[BOS, PAD], [BOS, PAD], [PAD, PAD]]
    assert batch.labels.T.tolist() == [[EOS, PAD], [EOS, PAD], [PAD, PAD]]
    assert batch.target_lengths.tolist() == [1, 1, 0]


@pytest.mark.parametrize("buckets", [1, 2, 3])
def test_bucket_sizes_waste_least_of_all_cuts(buckets):
    pairs = _pairs(40, 7)
    keys = np.maximum(pairs.sources.lengths, pairs.targets.lengths + 1)
    lengths = list(zip(keys, pairs.sources.lengths, pairs.targets.lengths + 1, strict=True))

    def cells(cuts):
        total = 0
        for low, high in itertools.pairwise([0, *cuts]):
            inside = [(s, t) for key, s, t in lengths if low < key <= high]
            if inside:
                total += len(inside) * (max(s for s, _ in inside) + max(t for _, t in inside))
        return total

    longest = max(keys)
    best = min(cells([*cuts, longest]) for n in range(buckets) for cuts in itertools.combinations(range(1, longest), n))
    sizes = bucket_sizes(pairs, buckets)
    assert len(sizes) <= buckets
    assert sum(sum(fitting_size(sizes, (s, t))) for _, s, t in lengths) <= best + len(lengths)


def test_no_more_buckets_than_lengths_are_looked_for():
    pairs = _pairs(40, 7)
    lengths = np.unique(np.maximum(pairs.sources.lengths, pairs.targets.lengths + 1))
    assert bucket_sizes(pairs, 2**31) == bucket_sizes(pairs, len(lengths))


def test_the_work_for_the_sizes_does_not_grow_with_all_ways_to_cut(monkeypatch):
    """Calls of functions, instead of seconds: of a few for each length, not of one for each two of them."""
    calls = 0

    def count(_, event, __):
        nonlocal calls
        calls += event in ("call", "c_call")

    number, buckets = 120, 8
    rows = [[5] * length for length in range(1, number + 1)]
    pairs = Pairs(rows, rows)
    monkeypatch.setattr(sys, "setprofile", sys.setprofile)  # whatever happens, it is put back
    sys.setprofile(count)
    try:
        sizes = bucket_sizes(pairs, buckets)
    finally:
        sys.setprofile(None)
    assert len(sizes) == buckets
    assert calls < 50 * number


def test_beyond_the_widest_bucket_sizes_double():
    assert fitting_size([(4, 5), (8, 9)], (4, 5)) == (4, 5)
    assert fitting_size([(4, 5), (8, 9)], (4, 6)) == (8, 9)
    assert fitting_size([(4, 5), (8, 9)], (17, 1)) == (32, 36)


def test_evaluation_gives_every_pair_once_in_few_shapes():
    sources, targets = _encoded()
    pairs = Pairs(sources, targets)
    sizes = bucket_sizes(pairs, 3)
    batches = list(evaluation_batches(pairs, sizes, 8))
    assert sorted(row for rows, _ in batches for row in rows) == list(range(60))
    assert len({(b.source.shape, b.labels.shape) for _, b in batches}) <= 3
    for rows, batch in batches:
        for column, row in enumerate(rows):
            assert batch.source[: batch.source_lengths[column], column].tolist() == sources[row]
            assert batch.labels[: batch.target_lengths[column], column].tolist() == [*targets[row], EOS]


@pytest.mark.parametrize(("number", "widths"), [(1, [1]), (3, [4]), (5, [8]), (17, [20]), (20, [20]), (21, [20, 20])])
def test_few_rows_are_filled_up_to_one_of_few_widths(number, widths):
    batches = [batch for _, batch in evaluation_batches(Pairs([[4]] * number, [[5]] * number), [(1, 2)], 20)]
    assert [batch.source.shape[1] for batch in batches] == widths
    assert sum((batch.source_lengths > 0).sum() for batch in batches) == number
    assert set(widths) <= set(batch_widths(20))


def _rows(batch):
    return [tuple(batch.source[: batch.source_lengths[i], i]) for i in range(batch.source.shape[1])]


def test_an_epoch_holds_every_pair_and_the_next_another_order():
    pairs = Pairs([[4 + i] for i in range(24)], [[5]] * 24)
    batches = training_batches(pairs, [(1, 2)], 8, seed=0)
    drawn = [row for batch in itertools.islice(iter(batches), 6) for row in _rows(batch)]
    assert sorted(drawn[:24]) == sorted(drawn[24:]) == [(4 + i,) for i in range(24)]
    assert drawn[:24] != drawn[24:]
    other = training_batches(pairs, [(1, 2)], 8, seed=1)
    assert _rows(next(iter(other))) != drawn[:8]


@pytest.mark.parametrize(("number", "batch_size"), [(150, 16), (65, 64), (40, 40), (41, 13), (5, 32), (1, 8)])
@pytest.mark.parametrize("tail", ["even", "long"])
def test_every_pair_comes_equally_often_and_no_batch_holds_one_twice(number, batch_size, tail):
    """Also where a bucket, or all pairs together, are fewer than a batch."""
    rng = np.random.default_rng(number)
    lengths = rng.integers(0, 20, (2, number)) if tail == "even" else np.minimum(rng.geometric(0.15, (2, number)), 60)
    rows = [[[4 + i] * length for i, length in enumerate(side)] for side in lengths]
    pairs = Pairs(*rows)
    batches = iter(training_batches(pairs, bucket_sizes(pairs, 6), batch_size, seed=1))
    seen, epochs = np.zeros(number, int), 5
    while seen.sum() < epochs * number:
        batch = next(batches)
        assert batch.source.shape[1] == batch_size
        assert len(set(batches.rows)) == len(batches.rows) == min(batch_size, number)
        for column, row in enumerate(batches.rows):
            assert batch.source[: batch.source_lengths[column], column].tolist() == rows[0][row]
            assert batch.labels[: batch.target_lengths[column], column].tolist() == [*rows[1][row], EOS]
        assert batch.tokens == sum(lengths[1][row] + 1 for row in batches.rows)
        seen[batches.rows] += 1
    assert seen.min() >= epochs - 2
    assert seen.max() <= epochs + 1


def test_a_small_bucket_is_padded_more_and_costs_the_others_nothing():
    """Three long pairs are joined by the longest of the others until they fill a batch; the rest stay as they were."""
    lengths = [*range(1, 21), 100, 100, 100]
    pairs = Pairs([[5] * length for length in lengths], [[5]] * len(lengths))
    batches = iter(training_batches(pairs, [(20, 2), (100, 2)], 8, seed=0))
    wide = set()
    for _ in range(30):
        if next(batches).source.shape[0] == 100:
            wide |= set(batches.rows)
    assert wide == set(range(15, 23))


def test_pairs_longer_than_any_bucket_get_one_of_their_own():
    pairs = Pairs([[5], [6] * 9], [[5], [6] * 9])
    batches = iter(training_batches(pairs, [(2, 3)], 1, seed=0))
    assert {next(batches).source.shape[0] for _ in range(4)} == {2, 16}


@pytest.mark.parametrize(("before", "after"), [(4, 16), (16, 4), (4, 100)])
def test_a_position_saved_with_another_batch_size_goes_on_with_whole_pairs(before, after):
    pairs = _pairs()
    sizes = bucket_sizes(pairs, 4)
    first = iter(training_batches(pairs, sizes, before, seed=3))
    for _ in range(9):
        next(first)
    second = iter(training_batches(pairs, sizes, after, seed=3))
    second.set_state(first.get_state())
    for _ in range(6):
        batch = next(second)
        assert batch.tokens == sum(pairs.targets.lengths[row] + 1 for row in second.rows)
        assert all(size >= batch.source_lengths.max() for size in batch.source.shape[:1])


@pytest.mark.parametrize("alike", [1, 3])
def test_a_saved_position_goes_on_with_the_same_batches(alike):
    pairs = _pairs()
    batches = training_batches(pairs, bucket_sizes(pairs, 3), 4, seed=3, alike=alike)
    first = iter(batches)
    for _ in range(7):
        next(first)
    state = first.get_state()
    wanted = [next(first) for _ in range(20)]
    again = iter(batches)
    again.set_state(state)
    for batch in wanted:
        for got, value in zip(next(again), batch, strict=True):
            np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize(("number", "batch_size", "alike"), [(150, 16, 3), (40, 13, 4), (5, 8, 2), (9, 2, 7)])
def test_batches_that_shall_be_alike_come_from_one_bucket_and_lose_no_pair(number, batch_size, alike):
    rng = np.random.default_rng(number)
    rows = [[[4 + i] * length for i, length in enumerate(side)] for side in rng.integers(1, 20, (2, number))]
    pairs = Pairs(*rows)
    batches = iter(training_batches(pairs, bucket_sizes(pairs, 4), batch_size, seed=1, alike=alike))
    seen = np.zeros(number, int)
    while seen.sum() < 6 * alike * number:
        shapes = set()
        for _ in range(alike):
            shapes.add(next(batches).source.shape)
            assert len(set(batches.rows)) == len(batches.rows) == min(batch_size, number)
            seen[batches.rows] += 1
        assert len(shapes) == 1
    assert seen.max() - seen.min() <= alike + 1  # epochs that may wait in a buffer


def test_a_smaller_batch_size_after_a_restart_loses_no_row():
    pairs = Pairs([[4 + i] for i in range(24)], [[5]] * 24)
    first = iter(training_batches(pairs, [(1, 2)], 9, seed=0))
    state = first.get_state() | {"buffers": [[3, 4, 5, 6, 7]]}
    smaller = iter(training_batches(pairs, [(1, 2)], 2, seed=0))
    smaller.set_state(state)
    assert [_rows(next(smaller)) for _ in range(2)] == [[(7,), (8,)], [(9,), (10,)]]


@pytest.mark.parametrize("number", [60, 3, 1])
def test_processes_share_every_batch_between_them(number):
    pairs = _pairs(number)
    sizes = bucket_sizes(pairs, 3)
    whole = iter(training_batches(pairs, sizes, 4, seed=0))
    parts = [iter(training_batches(pairs, sizes, 4, seed=0, process=i, processes=2)) for i in range(2)]
    for _ in range(12):
        batch, shares = next(whole), [next(part) for part in parts]
        assert _rows(batch) == _rows(shares[0]) + _rows(shares[1])
        assert {share.source.shape[0] for share in shares} == {batch.source.shape[0]}
