import itertools

import numpy as np
import pytest

from rnnlab.data.pipeline import (
    Lengths,
    Pairs,
    assemble,
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
    batch = assemble(pairs, [0, 1], (3, 4), 3)
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
    batch = assemble(Pairs([[], []], [[], []]), [0, 1], (2, 2), 3)
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
    assert sum(sum(fitting_size(sizes, s, t - 1)) for _, s, t in lengths) <= best + len(lengths)


def test_no_more_buckets_than_lengths_are_looked_for():
    pairs = _pairs(40, 7)
    lengths = np.unique(np.maximum(pairs.sources.lengths, pairs.targets.lengths + 1))
    assert bucket_sizes(pairs, 2**31) == bucket_sizes(pairs, len(lengths))


def test_beyond_the_widest_bucket_sizes_double():
    assert fitting_size([(4, 5), (8, 9)], 4, 4) == (4, 5)
    assert fitting_size([(4, 5), (8, 9)], 4, 5) == (8, 9)
    assert fitting_size([(4, 5), (8, 9)], 17) == (32, 36)


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


def test_a_saved_position_goes_on_with_the_same_batches():
    pairs = _pairs()
    batches = training_batches(pairs, bucket_sizes(pairs, 3), 4, seed=3)
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


def test_a_smaller_batch_size_after_a_restart_loses_no_row():
    pairs = Pairs([[4 + i] for i in range(24)], [[5]] * 24)
    first = iter(training_batches(pairs, [(1, 2)], 9, seed=0))
    state = first.get_state() | {"buffers": [[3, 4, 5, 6, 7]]}
    smaller = iter(training_batches(pairs, [(1, 2)], 2, seed=0))
    smaller.set_state(state)
    assert [_rows(next(smaller)) for _ in range(2)] == [[(7,), (8,)], [(9,), (10,)]]


def test_processes_share_every_batch_between_them():
    pairs = _pairs()
    sizes = bucket_sizes(pairs, 3)
    whole = iter(training_batches(pairs, sizes, 4, seed=0))
    parts = [iter(training_batches(pairs, sizes, 4, seed=0, process=i, processes=2)) for i in range(2)]
    for _ in range(12):
        batch, shares = next(whole), [next(part) for part in parts]
        assert _rows(batch) == _rows(shares[0]) + _rows(shares[1])
        assert {share.source.shape[0] for share in shares} == {batch.source.shape[0]}
