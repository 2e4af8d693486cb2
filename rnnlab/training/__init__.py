"""The experiment that trains, resumes, evaluates and uses a seq2seq model out of one work directory.

config -> experiment (vocabularies, model) -> loop (step, evaluation, checkpoints, logging) -> prediction.
Imports everything below it; `app.py`, `configs/` and the labs import it, each the module that it needs.
"""
