"""Synthetic problems with a known lag: `task.py` is the task; `rnnlab/data/lag_problems.py` draws the sequences."""
