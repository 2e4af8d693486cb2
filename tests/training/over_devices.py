"""What simulated devices exchange and compute when they share a training step or an evaluation.

    python -m tests.training.over_devices [FIELD=VALUE ...]

Prints a JSON object. For a training step on meshes of 4 x 1 and 2 x 2 devices: the operations with which devices
exchange values, in loops and outside; the bytes of the optimizer's state on the first device, also with
`training.shard_optimizer`; and of how many rows of a batch it draws masks. For an evaluation on 8 devices: the same
operations in loss and search, the FLOPs of a device relative to those of one that does everything, and the scores of
both.
"""

import collections
import json
import pathlib
import random
import re
import sys
import tempfile
from typing import Any

import jax
import numpy as np

from rnnlab.aot import read_program
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.seq2seq.evaluation import Evaluator
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.training.placing import place_rows, sharing_mesh
from rnnlab.training.programs import Programs
from rnnlab.training.workdir import create_task
from tests import tiny

_DEVICES, _OF_A_STEP = 8, 4


def _exchanges(hlo: str) -> dict[str, dict[str, int]]:
    """Counts the operations of a compiled program that exchange values between devices, in loops and outside."""
    program = read_program(hlo)
    loops = sum((loop.collectives for loop in program.loops), collections.Counter())
    return {"loops": loops, "outside": program.collectives}


def _task(fields: dict[str, Any]) -> Seq2SeqTask:
    """Makes the task of a run whose vocabularies, of 12 tokens, can be split."""
    folder = pathlib.Path(tempfile.mkdtemp())
    for split in tiny.SPLITS:
        words = ["".join(random.Random(i).choices("abcdefgh", k=1 + i % 6)) for i in range(64)]
        (folder / f"{split}.tsv").write_text("".join(f"{word}\t{' '.join(word.upper())}\n" for word in words))
    config = tiny.get_config(str(folder))
    config.evaluation.batch_size = 64
    config.model.encoder.bidirectional = False
    config.update_from_flattened_dict(fields)
    return create_task(config, folder / "run")


def _step(task: Seq2SeqTask, model_parallel: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for shard_optimizer in (False, True):
        config = task.config.copy_and_resolve_references()
        config.training.update({"model_parallel": model_parallel, "shard_optimizer": shard_optimizer})
        task = task.configured(config)
        programs = Programs(task, jax.devices()[:_OF_A_STEP])
        devices = programs.devices
        state = devices.place(jax.tree.map(np.array, programs.state_of(task, programs.start_params(task))))
        held = [leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state.optimizer)]
        found["optimizer_bytes, sharded" if shard_optimizer else "optimizer_bytes"] = sum(held)
    batch = devices.share(next(task.batches(seed=0, process=0, processes=1)))
    hlo = jax.jit(programs.step).lower(state, batch, devices.replicate(np.uint32(0))).compile().as_text()
    found["rows_drawn"] = max(int(rows) for rows in re.findall(r"u32\[\d+,(\d+),\d+\]", hlo))
    return found | _exchanges(hlo)


def _evaluation(task: Seq2SeqTask) -> dict[str, Any]:
    programs = Programs(task)
    params = jax.tree.map(np.array, programs.start_params(task))
    placed, alone = programs.devices.replicate(params), jax.device_put(params)
    evaluator = Evaluator(task, beam_size=2)
    _, batch = next(evaluator._batches(placed, task.encode(task.corpus.read("validation"))))
    limits = task.output_limit(batch.source_lengths)
    numbers = np.arange(len(limits), dtype=np.int32)

    def compiled(part: str, params: ModelParams):
        if part == "loss":
            return evaluator._loss.lower(params, place_rows(batch, params), forced=True).compile()
        given = place_rows((batch.source, batch.source_lengths, limits, numbers), params)
        return evaluator._search.lower(params, *given, max_length=16, mesh=sharing_mesh(params, len(numbers))).compile()

    found: dict[str, Any] = {}
    for part in ("loss", "search"):
        shared, whole = compiled(part, placed), compiled(part, alone)
        work = shared.cost_analysis()["flops"] / whole.cost_analysis()["flops"]
        found[part] = _exchanges(shared.as_text()) | {"work": work}
    examples = task.corpus.read("validation")
    return found | {"scores": [evaluator.evaluate(each, examples) for each in (placed, alone)]}


def main(*fields: str) -> None:
    """Counts everything."""
    task = _task({name: json.loads(value) for name, value in (field.split("=", 1) for field in fields)})
    shown = {"4x1": _step(task, 1), "2x2": _step(task, 2), "evaluation": _evaluation(task)}
    print(json.dumps(shown))


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", _DEVICES)
    main(*sys.argv[1:])
