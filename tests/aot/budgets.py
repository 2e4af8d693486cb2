"""What compiled programs may cost on an H100: kernels per step of a loop, and collectives in loops.

The figures are those of the compilers of requirements/aot.txt with autotuning off, as `python -m rnnlab.aot` prints
them. Lower a budget when a change lowers a figure; a figure above its budget fails `pytest -m aot`.
"""

# Kernels per step (forward, backward) of one layer in bfloat16 with lengths: 64 steps, 64 sequences, 256 units.
LAYERS = {
    "lstm": (8, 6),
    "gru": (8, 10),
    "slstm/heads4": (9, 8),
    "lstm_layer_norm": (13, 37),
    "lstm/diagonal": (6, 5),
}

# Kernels per token of the searches of configs/cmudict.py.
SEARCHES = {"greedy": 20, "beam": 33}

# Collectives per step, summed over the loops of a training step of configs/cmudict.py, by mesh (data x model).
MESHES = {(4, 1): 0, (2, 2): 51}
