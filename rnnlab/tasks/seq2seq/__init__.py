"""Sequence to sequence: texts to texts, by an encoder and a decoder.

`config.py` has the fields, `task.py` data, model and loss; scores, predictions, pictures and timings have their own
modules.
"""
