"""The main job's model on synthetic ids: training, greedy search and beam search, in float32 and bfloat16.

A batch is sharded over all devices that jax sees.
"""

import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab.benchmark.accelerator.records import Case, Row
from rnnlab.benchmark.implementations import status_of
from rnnlab.benchmark.implementations.jax_layer import program_bytes
from rnnlab.data.batch import Batch
from rnnlab.losses import cross_entropy, length_weights
from rnnlab.models import Seq2Seq
from rnnlab.search import SpecialTokens
from rnnlab.tasks.base import Loss, ModelParams
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.tasks.seq2seq.decode import decode
from rnnlab.timing import Times, time_in_turn
from rnnlab.training.devices import Devices
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.step import TrainState, make_train_step, repeat_step, split_model

_SPECIAL = SpecialTokens(bos=1, eos=2, pad=0)
_SIZES = (33, 43)  # ids of letters and of phones, including special tokens: 870,443 parameters, as in the main job
_TIME, _LIMIT = 8, 16  # letters and phones of a word; maximum phones of a search
_BEAM = 5
_OUTPUT_BIAS = "decoder/output/bias"


def cases(tiny: bool) -> list[Case]:
    """Lists training steps first, then searches, for a batch as on a CPU and for one that fills an accelerator."""
    batches, widths = ((2,), 8) if tiny else ((64, 1024), 0)
    work = ("training", "greedy search", "beam search")
    grid = itertools.product(work, batches, ("float32", "bfloat16"))
    return [{"what": what, "batch": batch, "dtype": dtype, "features": widths} for what, batch, dtype in grid]


def measure(given: Sequence[Case], settled: Mapping[str, Row]) -> Iterator[tuple[Case, Row]]:
    """Measures as described in `Part.measure`; compiles programs in parallel, then times them one after another."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        built = [threads.submit(_built, case) for case in given]
    for case, program in zip(given, built, strict=True):
        try:
            memory, call, tokens = program.result()
            times = time_in_turn({0: call}, repeats=10, warm_up=2)[0]
        except Exception as error:
            yield case, {"status": status_of(error)}
            continue
        peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        yield case, _figures(times, tokens) | {"bytes": memory, "process_peak_bytes": peak}


def _built(case: Case) -> tuple[int | None, Callable, int]:
    """Builds a case, as `_training` and `_search`."""
    build = _training if case["what"] == "training" else _search
    return build(*_model(case), _batch(case["batch"]), case)


def _figures(times: Times, tokens: int) -> Row:
    return {
        "repeats": len(times.seconds),
        "median_ms": 1e3 * times.median,
        "spread": times.spread,
        "calls_per_s": 1 / times.median,
        "tokens_per_s": tokens / times.median,
    }


def _model(case: Case) -> tuple[Callable[[ModelParams], Seq2Seq], ModelParams]:
    """Makes the model of the default config; its parameters are cast when it is merged."""
    config = default_config()
    if case["features"]:
        for side in ("encoder", "decoder"):
            config.model[side].update({"features": case["features"], "embedding": case["features"]})
    options: dict[str, Any] = config.model.to_dict() | {"never_predicted": _SPECIAL.never_predicted}
    merge, params = split_model(Seq2Seq(*_SIZES, rngs=nnx.Rngs(0), **options))
    dtype = jnp.dtype(case["dtype"])
    return lambda own: merge(jax.tree.map(lambda v: v.astype(dtype), own)), params


def _devices(rows: int) -> Devices:
    """Returns the layout over all devices for a batch of so many rows."""
    training = default_config().training
    training.batch_size = rows
    return Devices(training)


def _batch(rows: int) -> Batch:
    """Draws words of 4 to 8 letters and phones."""
    random = np.random.default_rng(0)
    source, labels = (random.integers(4, size, (_TIME, rows), dtype=np.int32) for size in _SIZES)
    lengths = [random.integers(_TIME // 2, _TIME + 1, rows, dtype=np.int32) for _ in range(2)]
    inputs = np.concatenate([np.full((1, rows), _SPECIAL.bos, np.int32), labels[:-1]])
    return _devices(rows).share(Batch(source, lengths[0], inputs, labels, lengths[1]))


def _training(merge, params: ModelParams, batch: Batch, case: Case) -> tuple[int | None, Callable, int]:
    """Returns bytes of the program, a call of it, and the tokens that a call trains on."""
    config = default_config()
    optimizer = make_optimizer(config.training)
    devices = _devices(case["batch"])
    state = devices.place(TrainState.start(params, optimizer))
    seed = devices.replicate(np.uint32(config.seed))
    how = {"shardings": devices.shardings(state)}
    step = jax.jit(make_train_step(_loss, merge, optimizer, config.training, **how), donate_argnums=0)  # one program
    compiled = step.lower(state, batch, seed).compile()
    call = repeat_step(compiled, state, batch, seed)
    return program_bytes(compiled), lambda: jax.block_until_ready(call()), batch.tokens


def _loss(model: Seq2Seq, batch: Batch, carry: tuple, *, rngs: nnx.Rngs, step: jax.Array) -> Loss:
    logits = model(batch.source, batch.source_lengths, batch.inputs, rngs=rngs)
    weights = length_weights(batch.target_lengths, len(batch.labels))
    return Loss(cross_entropy(logits, batch.labels, weights), weights.sum())


def _search(merge, params: ModelParams, batch: Batch, case: Case) -> tuple[int | None, Callable, int]:
    """Returns bytes of the program, a call of it, and the tokens that a call finds, counting only the best outputs.

    No output ends before its limit: untrained models may end at once, and tokens per second would be arbitrary.
    """
    params = params | {_OUTPUT_BIAS: params[_OUTPUT_BIAS].at[_SPECIAL.eos].set(-1e4)}
    limits = jnp.full(case["batch"], _LIMIT, jnp.int32)
    beam = _BEAM if case["what"] == "beam search" else 1

    def search(params, source, seq_lengths):
        return decode(merge(params), source, seq_lengths, limits, special=_SPECIAL, max_length=_LIMIT, beam_size=beam)

    arguments = _devices(case["batch"]).replicate(params), batch.source, batch.source_lengths
    compiled = jax.jit(search).lower(*arguments).compile()
    tokens = int((compiled(*arguments).tokens[:, 0] != _SPECIAL.pad).sum())
    return program_bytes(compiled), lambda: jax.block_until_ready(compiled(*arguments)), tokens
