"""The checks of the statements: rules from rows of results to figures that hold or do not, each with its picture.

Imports tables and intervals, and of the studies only their names.
"""
