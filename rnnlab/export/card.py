"""The model card of an exported model, in Markdown."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

import rnnlab
from rnnlab.export.programs import PLATFORMS
from rnnlab.files import undamaged
from rnnlab.printing import to_json
from rnnlab.tasks.base import ModelParams, Task
from rnnlab.tasks.exports import Exports, Program

_TEXT = """\
# {experiment} model on {data}

Trained and exported by rnnlab {version} with jax {jax}: {number:,} parameters, programs for {platforms}. Later
versions of jax can read them for at least six months.

## Use

`run.py` needs only jax and numpy.

{usage}

From Python, in this folder:

```python
from exported import program

{example}
```

## Programs

Each `NAME.stablehlo` was written by `jax.export`; its first argument is the dictionary of the parameters in
`model.safetensors`, which `exported.program` passes. Names in brackets are sizes, chosen anew in each call.

{programs}

## Data

{digests}

## Scores

{scores}

## Config

```json
{config}
```

## Files

| file | contents |
|---|---|
| `*.stablehlo` | the programs |
| `model.safetensors` | the parameters, by path |
| {files} | read by `run.py` |
| `exported.py`, `run.py` | load the programs; answer standard input |
| `flatbuffers/` | a package that jax needs to read programs (Apache-2.0, Google) |
"""


def make_card(task: Task, exports: Exports, signatures: Mapping[str, tuple[str, str]], params: ModelParams) -> str:
    """Writes the model card.

    Args:
      task: of the run; result.json and selection.json in its work directory are quoted if they exist.
      exports: of the task.
      signatures: the arguments and the results of each program.
      params: of the model.

    Raises:
      UserError: result.json or selection.json is damaged.
    """
    name, program = next(iter(exports.programs.items()))
    return _TEXT.format(
        experiment=task.config.experiment,
        data=task.config.data.name,
        version=rnnlab.__version__,
        jax=jax.__version__,
        number=sum(math.prod(value.shape) for value in params.values()),
        platforms=", ".join(PLATFORMS),
        usage=exports.usage,
        example=f'found = program("{name}")({", ".join(program.arguments)})',
        programs="\n".join(_described(name, each, signatures[name]) for name, each in exports.programs.items()),
        digests=_table("split", "SHA-256", exports.digests),
        scores="\n".join(_scores(member) for member in task.members),
        config=task.config.to_json_best_effort(indent=2),
        files=", ".join(f"`{each}`" for each in exports.files),
    )


def _described(name: str, program: Program, signature: tuple[str, str]) -> str:
    arguments, results = signature
    return f"- `{name}`: {program.meaning}\n    - arguments: `{arguments}`\n    - results: `{results}`"


def _table(left: str, right: str, rows: Mapping[str, Any]) -> str:
    lines = [f"| {left} | {right} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(lines)


def _scores(task: Task) -> str:
    """Writes the scores of a run; an ensemble has one paragraph for each."""
    found = []
    for name, what in (("selection.json", "The best step"), ("result.json", "Its scores")):
        path = pathlib.Path(task.workdir / name)
        if path.exists():
            with undamaged(path):
                content = to_json(json.loads(path.read_text(encoding="utf-8")), indent=2)
            found.append(f"{what} (`{task.workdir.name}/{name}`):\n\n```json\n{content}\n```\n")
    return "\n".join(found) or f"The run `{task.workdir.name}` has not been evaluated yet.\n"
