"""Sequences of numbers or tokens, answered by a class, by numbers, or at each step."""
