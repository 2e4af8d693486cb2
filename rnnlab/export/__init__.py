"""Exports a trained model into a folder that needs no rnnlab: programs, parameters, a model card and a runner.

`folder.py` writes the folder, `programs.py` lowers the programs of a task, `card.py` describes them, and `exported.py`
is copied into the folder. Imports tasks and the end of training; only `app` and `run` may import it.
"""
