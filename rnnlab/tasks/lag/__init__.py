"""Problems whose answer lies a known number of steps back: `task.py` is the task; `rnnlab/data/lag_problems.py` draws
them."""
