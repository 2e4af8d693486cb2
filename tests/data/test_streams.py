"""Parallel streams of a text."""

import collections
import itertools
import json

import numpy as np
import pytest

from rnnlab.data.streams import Streams

IDS = np.arange(100, 203, dtype=np.int32)  # each token differs, and follows the one before


def _streams(**options):
    how = {"batch_size": 4, "bptt": 8, "random": False, "seed": 0, "process": 0, "processes": 1}
    return Streams(IDS, **(how | options))


def _pieces(number, **options):
    streams = _streams(**options)
    return [next(streams) for _ in range(number)]


def _epoch(streams):
    """The pieces up to the next start of all streams."""
    first = next(streams)
    assert first.starts.all()
    return [first, *itertools.takewhile(lambda piece: not piece.starts.any(), iter(streams.__next__, None))]


@pytest.mark.parametrize("random", [False, True])
def test_a_stream_goes_on_where_its_piece_before_ended_and_an_epoch_has_each_token_once(random):
    pieces = _epoch(_streams(random=random))
    columns = [np.concatenate([p.labels[: p.lengths[b], b] for p in pieces]) for b in range(4)]
    inputs = [np.concatenate([p.inputs[: p.lengths[b], b] for p in pieces]) for b in range(4)]
    for column, before in zip(columns, inputs, strict=True):
        assert len(column) == 103 // 4
        assert np.array_equal(before[1:], column[:-1])
        assert np.array_equal((before - 100 + 1) % 103, column - 100)
    counts = collections.Counter(np.concatenate(columns).tolist())
    assert max(counts.values()) == 1
    assert len(counts) == 100


def test_every_piece_has_the_same_shape_and_is_zero_in_the_padding():
    for piece in _pieces(40, random=True):
        assert piece.inputs.shape == piece.labels.shape == (18, 4)
        assert len(set(piece.lengths.tolist())) == 1
        assert not piece.inputs[piece.lengths[0] :].any()
        assert not piece.labels[piece.lengths[0] :].any()


def test_epochs_are_cut_elsewhere_as_the_seed_says():
    streams = _streams()
    starts = []
    for piece in iter(streams.__next__, None):
        if len(starts) == 10:
            break
        if piece.starts.all():
            starts.append(int(piece.inputs[0, 0]))
            assert streams.rows == [(starts[-1] - 100 + 25 * b) % 103 for b in range(4)]
    assert len(set(starts)) > 5
    assert int(next(_streams()).inputs[0, 0]) == starts[0]
    assert int(next(_streams(seed=1)).inputs[0, 0]) != starts[0]


def test_random_lengths_are_those_of_merity():
    streams = Streams(np.zeros(4_000_000, np.int32), batch_size=2, bptt=70, random=True, seed=0, process=0, processes=1)
    lengths = np.array([next(streams).lengths[0] for _ in range(4000)])
    full = lengths[lengths > 52]
    assert len(full) / len(lengths) == pytest.approx(0.95, abs=0.015)
    assert full.mean() == pytest.approx(70, abs=1)
    assert full.std() == pytest.approx(5, abs=0.5)
    assert lengths[lengths <= 52].mean() == pytest.approx(35, abs=2)
    assert lengths.max() <= 80


@pytest.mark.parametrize("random", [False, True])
def test_a_saved_position_is_taken_up_exactly_and_processes_share_the_streams(random):
    whole = _pieces(12, random=random)
    first = _streams(random=random)
    for _ in range(5):
        next(first)
    position = json.loads(json.dumps(first.get_state()))
    halves = [_streams(random=random, process=i, processes=2) for i in range(2)]
    for half in halves:
        half.set_state(position)
    for wanted in whole[5:]:
        parts = [next(half) for half in halves]
        for name in wanted._fields:
            own = np.concatenate([getattr(part, name) for part in parts], axis=-1)
            np.testing.assert_array_equal(own, getattr(wanted, name))
        assert halves[0].rows == halves[1].rows
