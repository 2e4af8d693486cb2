"""What rnnlab does on an accelerator, measured in a few minutes on a machine that has little installed.

    python -m rnnlab.benchmark.accelerator --out=DIR

`parts.py` lists what is measured, a module for each; `driver.py` runs each part in processes of its own, which append
their rows to one file. Needs jax, flax, optax, jaxtyping, ml_collections, absl and numpy; torch is a peer where it is.
"""
