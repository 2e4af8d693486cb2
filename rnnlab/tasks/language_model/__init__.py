"""Language models of running text.

`config.py` has the fields, `task.py` data, model and loss; scores and predictions have their own modules.
"""
