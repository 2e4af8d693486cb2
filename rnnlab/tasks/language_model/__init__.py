"""Language models: the next token of a running text.

`config.py` has the fields, `task.py` data, model and loss; scores and answers stand beside them.
"""
