"""Sequences of numbers or tokens in; a class, numbers, or an answer at each step out."""
