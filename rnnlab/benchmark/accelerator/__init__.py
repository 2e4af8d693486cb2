"""Measures rnnlab on an accelerator, in a few minutes on a machine with few packages.

    python -m rnnlab.benchmark.accelerator --out=DIR

`parts.py` lists the measurements, one module each; `driver.py` runs each part in its own processes, which append their
rows to one file. Needs jax, flax, optax, jaxtyping, ml_collections, absl and numpy; torch is a peer if installed.
"""
