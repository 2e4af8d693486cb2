"""The gradient-flow lab: tests the statements of a tutorial on RNNs, and writes a report.

config -> studies (units of work) -> results.csv -> statements (verdicts from the rows) -> report.
Imports everything below it; only `app.py` and `configs/` import it, each only the module that it needs.
"""
