"""Runs the command of rnnlab from a clone, without installation; `rnnlab/app.py` defines the flags."""

import sys

from rnnlab.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
