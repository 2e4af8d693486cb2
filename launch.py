"""The command of rnnlab from a clone, without installing it; `rnnlab/app.py` has the flags."""

import sys

from rnnlab.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
