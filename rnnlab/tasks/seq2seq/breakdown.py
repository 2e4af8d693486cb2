"""The breakdown of the time of a training step: each part is compiled separately and timed on a batch of the run."""

import collections
import copy
import functools
import itertools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from rnnlab.data.batch import Batch
from rnnlab.data.pipeline import training_batches
from rnnlab.losses import cross_entropy, length_weights
from rnnlab.models import Seq2Seq
from rnnlab.models.embedding import embed, rows
from rnnlab.printing import show, to_json
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.timing import time_in_turn
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.step import TrainState, apply_gradients, make_train_step, repeat_step, split_model

_BATCHES = 100
_REPEATS = 30


def breakdown(task: Seq2SeqTask) -> None:
    """Prints the milliseconds of each part of a step, forward and backward, then the same as one JSON object.

    The batch has the most frequent shape. Parts are timed in turn, and the median of 30 is printed; "the rest"
    (attention, bridge, embeddings) is the time of the whole step minus that of its parts. The input pipeline runs on
    the host, in parallel to the device: it costs time only if they share cores, or if it is slower.

    Raises:
      UserError: the dataset is not available.
    """
    config = task.config.training
    batches = iter(training_batches(task.training_pairs, task.sizes, config.batch_size, seed=task.config.seed))
    next(batches)
    started = time.perf_counter()
    drawn = list(itertools.islice(batches, _BATCHES))
    pipeline = (time.perf_counter() - started) / _BATCHES
    shapes = collections.Counter((batch.source.shape, batch.labels.shape) for batch in drawn)
    shape = shapes.most_common(1)[0][0]
    batch = next(batch for batch in drawn if (batch.source.shape, batch.labels.shape) == shape)
    parts = {name: _finished(part) for name, part in _parts(task, jax.device_put(batch)).items()}
    seconds = {name: times.median for name, times in time_in_turn(parts, repeats=_REPEATS).items()}
    whole = seconds.pop("step")
    found = seconds | {"the rest": whole - sum(seconds.values()), "step": whole, "input pipeline (host)": pipeline}
    steps = f"source {shape[0][0]}, target {shape[1][0]}, batch {config.batch_size}"
    show(f"{steps}, on {jax.devices()[0].device_kind}; {batch.tokens / whole:,.0f} target tokens per second")
    for name, value in found.items():
        show(f"{name:24s} {1e3 * value:8.2f} ms  {value / whole:6.1%}")
    show(to_json({name: round(1e3 * value, 3) for name, value in found.items()}))


def _finished(part: Callable[[], object]) -> Callable[[], object]:
    return lambda: jax.block_until_ready(part())


def _parts(task: Seq2SeqTask, batch: Batch) -> dict[str, Callable[[], object]]:
    """Makes every part a compiled function without arguments."""
    config, model = copy.deepcopy(task.config.training), task.make_model()
    config.steps_per_call = 1
    optimizer, (merge, params) = make_optimizer(config), split_model(model)
    read = jnp.ones((*batch.labels.shape, model.decoder.read_features))
    extra = model.decoder.stack.in_features - model.decoder.embedding.features
    beside = jnp.ones((*batch.labels.shape, extra))

    def encoder(model: Seq2Seq) -> Array:
        return model.encoder(batch.source, batch.source_lengths)[0].sum()

    def decoder(model: Seq2Seq) -> Array:
        embedded = embed(model.decoder.embedding, batch.inputs, None)
        inputs = jnp.concatenate([rows(embedded), beside], axis=-1) if beside.size else embedded
        return model.decoder.stack(inputs)[0].sum()

    def output(model: Seq2Seq) -> Array:
        return cross_entropy(
            model.decoder.logits(read), batch.labels, length_weights(batch.target_lengths, len(batch.labels))
        )

    def update(state: TrainState, gradients: ModelParams) -> tuple[TrainState, tuple[()]]:
        return apply_gradients(optimizer, state, gradients), ()

    def gradient(part: Callable[[Seq2Seq], Array]) -> Callable[[], object]:
        return functools.partial(jax.jit(jax.grad(lambda params: part(merge(params)))), params)

    state = TrainState.start(params, optimizer)
    intervention = Intervention(config.intervention, model)
    step = make_train_step(task.loss, merge, optimizer, config, constrain=intervention.constrain)
    return {
        "encoder": gradient(encoder),
        "decoder recurrence": gradient(decoder),
        "output layer and loss": gradient(output),
        "clipping and optimizer": repeat_step(jax.jit(update, donate_argnums=0), state, params),
        "step": repeat_step(step, state, batch, jnp.uint32(task.config.seed)),
    }
