"""The gradient-flow lab: what the tutorial says of recurrence, put to the test, and a report of what was found.

config -> studies (units of work) -> results.csv -> statements (verdicts out of the rows) -> report.
Imports everything below it; only `app.py` and `configs/` import it, each the module that it needs.
"""
