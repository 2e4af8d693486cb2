import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from oracle import assert_close

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import Unsupported, build
from rnnlab.benchmark.ragged import ARRANGEMENTS, arrange, draw_lengths

CASE = Case("gru", 2, 12, 4, "float32", "training", layers=2, lengths="text")
WAYS = ["rnnlab", *(f"rnnlab/{how}" for how in ARRANGEMENTS), "lax.scan/packed", "flax.linen", "flax.nnx/buckets"]


def _lengths(batch):
    """The length of each sequence of a batch, from where sequences start and where rows end."""
    found = []
    for row, total in enumerate(batch.seq_lengths):
        starts = [0] if batch.segment_starts is None else list(np.flatnonzero(batch.segment_starts[:, row]))
        assert total <= batch.time
        assert not total or starts[0] == 0
        found += list(np.diff([*starts, total]))
    return found


@pytest.mark.parametrize("how", ["", *ARRANGEMENTS])
@pytest.mark.parametrize(("batch", "longest"), [(1, 64), (32, 64), (5, 3), (16, 1024)])
def test_every_arrangement_has_every_sequence_once(batch, longest, how):
    lengths = draw_lengths(batch, longest)
    batches = arrange(lengths, batch, how)
    assert {own.seq_lengths.shape for own in batches} == {(batch,)}
    assert sorted(n for own in batches for n in _lengths(own)) == sorted(lengths)


def test_the_longest_sequences_first_fill_rows_nearly_to_the_same_length():
    """Graham (1969): at most 4/3 of the best possible, which is no less than the mean."""
    lengths = draw_lengths(16, 256)
    batches = arrange(lengths, 16, "packed")
    rows = [n for own in batches for n in own.seq_lengths]
    assert batches[0].time == max(rows) <= 4 / 3 * max(np.mean(rows), lengths.max())


def test_buckets_are_the_batches_of_least_padding():
    """By brute force over all ways to split 6 sequences into 3 batches of 2."""
    lengths = np.array([5, 1, 4, 2, 6, 3])
    orders = {tuple(np.random.default_rng(n).permutation(6)) for n in range(3000)}
    assert len(orders) > 700
    least = min(sum(lengths[list(order)].reshape(3, 2).max(1)) for order in orders)
    assert sum(own.time for own in arrange(lengths, 2, "buckets")) == least


def test_lengths_are_log_normal_with_a_median_of_a_quarter():
    logs = np.log(draw_lengths(500, 4000) / 4000)
    assert abs(np.median(logs) - np.log(0.25)) < 0.02
    assert abs(np.std(logs) - 0.5) < 0.02


@pytest.mark.parametrize("name", WAYS)
def test_every_way_runs_and_gives_the_padding_no_gradient(name):
    layer = build(name, CASE)
    layer.build()
    layer.run()
    if name.endswith("padded"):
        return
    for (_, rows, _), (_, (_, d_inputs)) in zip(layer.calls, _results(layer), strict=True):
        padding = jnp.arange(rows.inputs.shape[0])[:, None] >= rows.seq_lengths
        assert not np.any(np.asarray(d_inputs)[np.asarray(padding)])


def _results(layer):
    return [compiled(*arguments) for compiled, arguments in zip(layer.compiled, layer.calls, strict=True)]


def test_packed_rows_compute_what_the_plain_scan_does():
    ours, plain = (build(name, CASE) for name in ("rnnlab/packed", "lax.scan/packed"))
    for layer in (ours, plain):
        layer.build()
    assert_close(_results(ours), _results(plain), 1e-5)


def test_tokens_and_operations_leave_the_padding_out():
    tokens = int(draw_lengths(2, 12).sum())
    one, equal = dataclasses.replace(CASE, layers=1), dataclasses.replace(CASE, lengths="equal", layers=1)
    assert CASE.tokens == tokens
    assert CASE.flops == 2 * one.flops
    assert one.flops * equal.tokens == equal.flops * tokens


@pytest.mark.parametrize(
    ("name", "case", "message"),
    [
        ("rnnlab/packed", dataclasses.replace(CASE, lengths="equal"), "'packed' is for sequences of unequal lengths"),
        ("flax.nnx/packed", CASE, "takes one sequence per row"),
        ("products", CASE, "one layer over sequences of equal lengths"),
    ],
)
def test_what_an_implementation_lacks_is_unsupported(name, case, message):
    with pytest.raises(Unsupported, match=message):
        build(name, case)


@pytest.mark.parametrize("name", ["torch", "torch/buckets", "torch/padded"])
def test_torch_packs_as_many_tokens_as_there_are(name):
    pytest.importorskip("torch")
    layer = build(name, CASE)
    layer.run()
    given = [batch for batch, _ in layer._batches]
    if name == "torch/padded":
        assert {tuple(batch.shape) for batch in given} == {(draw_lengths(2, 12).max(), 2, 4)}
    else:
        assert sum(len(batch.data) for batch in given) == CASE.tokens
