"""Reads optimised HLO: the kernels that each loop launches per step, and the collectives in and outside loops.

Pure functions of the text of a compiled program (`compiled.as_text()`). Imports nothing of rnnlab.
"""

import collections
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)
_FREE = {
    "add-dependency",
    "after-all",
    "bitcast",
    "constant",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ([a-z][\w\-]*)\(")
_CALLED = re.compile(r"\b(body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OP_NAME = re.compile(r'\bop_name="([^"]*)"')
# of a TPU, whose layouts have tiles: its scalar unit computes these beside the kernels
_TPU_SCALAR = re.compile(r"\w+\[\]\{:T")


class Loop(NamedTuple):
    """A while loop of a compiled program.

    Attributes:
      name: the path of jax's operations to it.
      steps: the number of iterations, None if only the running program knows it.
      depth: the number of loops around it.
      kernels: launches per iteration by operation, without those of loops inside; at a conditional, those of its
        largest branch. Counts fusions, calls of libraries and of kernels, copies, slices and collectives.
      condition: launches per iteration to decide whether to stop; 0 where `steps` is known.
      collectives: exchanges between devices per iteration by operation, also to decide whether to stop, without those
        of loops inside.
    """

    name: str
    steps: int | None
    depth: int
    kernels: collections.Counter[str]
    condition: int
    collectives: collections.Counter[str]

    @property
    def backward(self) -> bool:
        """Whether it belongs to a backward pass."""
        return "transpose(" in self.name


class Program(NamedTuple):
    """A compiled program: its loops in the order of execution, and its `kernels` and `collectives` outside loops."""

    loops: tuple[Loop, ...]
    kernels: collections.Counter[str]
    collectives: collections.Counter[str]

    @property
    def collectives_in_loops(self) -> int:
        """The number of exchanges per iteration, summed over all loops."""
        return sum(loop.collectives.total() for loop in self.loops)


class _Instruction(NamedTuple):
    """An instruction: its operation, what it calls by role, and its line."""

    opcode: str
    type: str
    called: list[tuple[str, str]]
    line: str


def read_program(text: str) -> Program:
    """Reads the text of an optimised program.

    Raises:
      ValueError: it has no entry computation, so it is not the text of an HLO module.
    """
    computations, entry = _computations(text)
    if entry is None:
        raise ValueError("not the text of an HLO module: it has no entry computation")
    kernels, collectives = _launches(computations, entry), _exchanges(computations, entry)
    return Program(tuple(_loops(computations, entry, 0)), kernels, collectives)


def _computations(text: str) -> tuple[dict[str, list[_Instruction]], str | None]:
    """Returns the instructions of each computation, and the name of the entry."""
    found: dict[str, list[_Instruction]] = {}
    entry, own = None, []
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            own = found.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif instruction := _INSTRUCTION.match(line):
            called = [(role, name) for role, name in _CALLED.findall(line)]
            for names in _BRANCHES.findall(line):
                called += [("branch", name.strip().lstrip("%")) for name in names.split(",")]
            own.append(_Instruction(instruction[2], instruction[1], called, line))
    return found, entry


def _within(instruction: _Instruction) -> list[str]:
    """Returns the computations that run where the instruction stands, each at most once; not those of a fusion."""
    if instruction.opcode not in ("call", "conditional", "async-start"):
        return []
    return [name for role, name in instruction.called if role not in ("body", "condition")]


def _loops(computations: Mapping[str, list[_Instruction]], name: str, depth: int) -> Iterator[Loop]:
    for instruction in computations[name]:
        for inner in _within(instruction):
            yield from _loops(computations, inner, depth)
        if instruction.opcode == "while":
            called = dict(instruction.called)
            trips, path = _TRIPS.search(instruction.line), _OP_NAME.search(instruction.line)
            yield Loop(
                name=path[1] if path else "",
                steps=int(trips[1]) if trips else None,
                depth=depth,
                kernels=_launches(computations, called["body"]),
                condition=0 if trips else _launches(computations, called["condition"]).total(),
                collectives=_exchanges(computations, called["body"]) + _exchanges(computations, called["condition"]),
            )
            yield from _loops(computations, called["body"], depth + 1)


def _launches(computations: Mapping[str, list[_Instruction]], name: str) -> collections.Counter[str]:
    """Counts the kernels of a computation, without those of its loops."""
    found: collections.Counter[str] = collections.Counter()
    for instruction in computations[name]:
        inner = [_launches(computations, called) for called in _within(instruction)]
        if inner:
            found += sorted(inner, key=collections.Counter.total)[-1]
        elif instruction.opcode != "while" and _is_kernel(instruction):
            found[instruction.opcode.removesuffix("-start")] += 1
    return found


def _is_kernel(instruction: _Instruction) -> bool:
    opcode = instruction.opcode
    if opcode in _FREE or opcode.endswith(("-done", "-update")):
        return False
    return opcode in ("fusion", "custom-call") or not _TPU_SCALAR.match(instruction.type)


def _exchanges(computations: Mapping[str, list[_Instruction]], name: str) -> collections.Counter[str]:
    """Counts the collectives of a computation and of what it calls, fusions included, without those of its loops."""
    found: collections.Counter[str] = collections.Counter()
    for instruction in computations[name]:
        opcode = instruction.opcode.removesuffix("-start")
        if opcode in COLLECTIVES:
            found[opcode] += 1
        elif opcode != "while":
            for _, called in instruction.called:
                found += _exchanges(computations, called)
    return found
