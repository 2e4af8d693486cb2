"""Sequences of numbers, of words and of characters, with their answers, in the file formats of public archives.

`base.py` is the entry point; every other module reads one format. Imports NumPy and the standard library; packages for
a format are imported when it is read.
"""
