"""The command `rnnlab`, also run by `python -m rnnlab` and `python launch.py`."""

import sys

from rnnlab.errors import UserError
from rnnlab.extras import needs


def main() -> int:
    """Runs the command by the flags in `sys.argv`; returns the exit status."""
    try:
        with needs("train", "the command rnnlab"):
            from rnnlab import app
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return app.run()


if __name__ == "__main__":
    sys.exit(main())
