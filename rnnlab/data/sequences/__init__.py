"""Sequences of numbers, of words and of characters, with their answers, as the files of the field's archives have them.

`base.py` has what others use; every other module reads one format. NumPy and the standard library; what a format needs
beside them is imported when it is read.
"""
