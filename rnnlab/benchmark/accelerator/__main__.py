"""The command line: `python -m rnnlab.benchmark.accelerator --out=DIR [--minutes=7.5] [--only=layers,job]`."""

import pathlib
import sys

from absl import app, flags

from rnnlab.benchmark.accelerator.driver import run
from rnnlab.benchmark.accelerator.parts import PARTS

_OUT = flags.DEFINE_string("out", None, "Folder of accelerator.jsonl, .md and .log: created or resumed.", required=True)
_MINUTES = flags.DEFINE_float("minutes", 7.5, "Wall time of all parts together.", lower_bound=0.05, upper_bound=1e5)
_ONLY = flags.DEFINE_list("only", [], f"Parts to measure, of {', '.join(PARTS)}; the facts are always measured.")
_TINY = flags.DEFINE_bool("tiny", False, "Tiny sizes: checks in a minute that every part runs, also on a CPU.")
flags.register_validator(
    "only", lambda names: set(names) <= set(PARTS), message=f"unknown part; allowed: {', '.join(PARTS)}"
)


def main(argv: list[str]) -> int:
    """Runs the measurements; the exit status is 1 if a case failed."""
    if argv[1:]:
        raise app.UsageError(f"{argv[1]!r}: not a flag; flags start with --")
    out = pathlib.Path(_OUT.value).expanduser()
    try:
        failed = run(out, minutes=_MINUTES.value, only=_ONLY.value or list(PARTS), tiny=_TINY.value)
    except OSError as error:
        print(f"error: --out: {error.filename or out}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; the measurements so far are in {out}", file=sys.stderr)
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    app.run(lambda argv: sys.exit(main(argv)))
