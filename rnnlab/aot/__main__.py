"""Compiles the programs of a config for an accelerator that this machine does not have.

python -m rnnlab.aot --platform=h100 --config=configs/cmudict.py
python -m rnnlab.aot --platform=v5e --mesh=2x2 --config=configs/cmudict.py --config.model.encoder.cell=gru

It prints the kernels that each loop launches per step, the collectives in and outside loops, the memory of each device,
spilled registers, and the CPU seconds to compile. Nothing runs. `docs/accelerators.md` explains the figures.
"""

import re
import sys

import jax
from absl import app, flags

from rnnlab import command
from rnnlab.aot.compiling import compile_for
from rnnlab.aot.platforms import PLATFORMS, Target, find_target
from rnnlab.aot.programs import make_task, programs_of
from rnnlab.aot.table import heading, rows_of
from rnnlab.errors import UserError
from rnnlab.printing import show

_PLATFORM = flags.DEFINE_string("platform", None, f"The accelerator: {', '.join(PLATFORMS)}.", required=True)
_MESH = flags.DEFINE_string("mesh", "1x1", "Devices that share the batch x devices that share large parameters.")
_ONLY = flags.DEFINE_list("only", [], "The programs to compile, such as train_step,greedy; by default all.")
flags.declare_key_flag("config")


def main(argv: list[str]) -> int:
    """Compiles and prints; returns the exit status."""
    jax.config.update("jax_platforms", "cpu")  # an accelerator's package without one would be an error
    config = command.CONFIG.value
    try:
        if argv[1:]:
            raise UserError(f"{argv[1]!r}: not a flag; flags start with --")
        if config is None:
            raise UserError("--config: missing; give an experiment, such as --config=configs/cmudict.py")
        target = find_target(_PLATFORM.value, _read_mesh(_MESH.value))
        config.training.model_parallel = target.mesh.shape["model"]
        _compile_all(config, target)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _compile_all(config, target: Target) -> None:
    """Prints the rows of each program as soon as it is compiled.

    Raises:
      UserError: a program that the config does not have.
    """
    programs = list(programs_of(make_task(config), target))
    names = [program.name for program in programs]
    for name in _ONLY.value:
        if name not in names:
            raise UserError(f"--only: no program {name!r}; this config has {', '.join(names)}")
    show(heading())
    for program in programs:
        if not _ONLY.value or program.name in _ONLY.value:
            for row in rows_of(program.name, compile_for(program.function, *program.arguments, platform=target)):
                show(row)


def _read_mesh(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise UserError(f"--mesh: {text!r} is not of the form 4x1, two numbers of devices")
    return int(found[1]), int(found[2])


def _parse(argv: list[str]) -> list[str]:
    try:
        return command.parse(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)), flags_parser=_parse)
