"""Compiles programs ahead of time for accelerators that this machine does not have, and counts what they would do.

`platforms.py` describes the accelerators, `compiling.py` compiles one program, `hlo.py` reads what came out. Imports
everything else; nothing imports it.
"""

from rnnlab.aot.compiling import Report, compile_for, lower_for
from rnnlab.aot.hlo import Loop, Program, read_program
from rnnlab.aot.platforms import PLATFORMS, Target, find_target

__all__ = [
    "PLATFORMS",
    "Loop",
    "Program",
    "Report",
    "Target",
    "compile_for",
    "find_target",
    "lower_for",
    "read_program",
]
