"""The training of a task: step, loop and what makes a run survive.

config -> task (`rnnlab.tasks`) -> loop (step, evaluation, checkpoints, logging) -> report.
Of the tasks it imports `base` only; a task is handed to it.
"""
