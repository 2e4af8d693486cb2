"""What compiled programs may cost on an H100: kernels per step of a loop, and collectives in loops.

The figures are those of the compilers of requirements/aot.txt with autotuning off, as `python -m rnnlab.aot` prints
them. Lower a budget when a change lowers a figure; a figure above its budget fails `pytest -m aot`.
"""

# Kernels per step (forward, backward) of one layer in bfloat16 with lengths: 64 steps, 64 sequences, 256 units.
LAYERS = {
    "lstm": (2.75, 3.5),
    "gru": (2.5, 3.75),
    "slstm/heads4": (4.5, 4.5),
    "lstm_layer_norm": (5.75, 8.25),
    "lstm/diagonal": (2.75, 1.75),
}

# Kernels per token of the searches of configs/cmudict.py, with the test whether to stop; an iteration has `TOKENS`.
SEARCHES = {"greedy": 11.875, "beam": 15.875}
TOKENS = 8

# Collectives per step, summed over the loops of a training step of configs/cmudict.py, by mesh (data x model).
MESHES = {(4, 1): 0, (2, 2): 0}
