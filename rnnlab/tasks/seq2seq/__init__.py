"""Sequence to sequence: texts in, texts out, by an encoder and a decoder.

`config.py` has the fields, `task.py` data, model and loss; scores, answers, pictures and timings stand beside them.
"""
