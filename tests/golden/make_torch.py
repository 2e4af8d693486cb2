"""Writes torch.npz: torch.nn's recurrent layers with their weights, results and gradients, for tests/cells; and
torch_stacks.npz: two layers in both directions, weights and outputs, for tests/models.

    pip install torch numpy && python tests/golden/make_torch.py

Made with torch 2.13.0 (CPU, float64). Keys are "<layer>/<array>"; the loss is the sum of every output and every entry
of the last state, each times a weight of its own.
"""

import pathlib

import numpy as np
import torch

TIME, BATCH, IN, HIDDEN = 6, 3, 4, 5
LAYERS = {
    "rnn": lambda: torch.nn.RNN(IN, HIDDEN),
    "rnn_relu": lambda: torch.nn.RNN(IN, HIDDEN, nonlinearity="relu"),
    "gru": lambda: torch.nn.GRU(IN, HIDDEN),
    "lstm": lambda: torch.nn.LSTM(IN, HIDDEN),
}


def run(name: str) -> dict[str, np.ndarray]:
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    inputs = torch.randn(TIME, BATCH, IN, dtype=torch.float64, requires_grad=True)
    state = [torch.randn(1, BATCH, HIDDEN, dtype=torch.float64) for _ in range(2 if name == "lstm" else 1)]
    outputs, final = layer(inputs, tuple(state) if name == "lstm" else state[0])
    final = final if name == "lstm" else (final,)
    results = [outputs, *(entry[0] for entry in final)]
    weights = [torch.randn_like(result) for result in results]
    sum((w * r).sum() for w, r in zip(weights, results, strict=True)).backward()
    arrays = {"inputs": inputs, "inputs_gradient": inputs.grad, "outputs": outputs}
    for i, entry in enumerate(state):
        arrays |= {f"state_{i}": entry[0], f"final_{i}": results[1 + i]}
    arrays |= {f"loss_weight_{i}": w for i, w in enumerate(weights)}
    for key, value in layer.named_parameters():
        arrays |= {key: value, f"{key}_gradient": value.grad}
    return {f"{name}/{key}": value.detach().numpy() for key, value in arrays.items()}


def run_stack(name: str) -> dict[str, np.ndarray]:
    torch.manual_seed(1)
    kind, options = {"rnn_relu": ("RNN", {"nonlinearity": "relu"})}.get(name, (name.upper(), {}))
    layer = getattr(torch.nn, kind)(IN, HIDDEN, num_layers=2, bidirectional=True, **options).double()
    inputs = torch.randn(TIME, BATCH, IN, dtype=torch.float64)
    arrays = {"inputs": inputs, "outputs": layer(inputs)[0]} | layer.state_dict()
    return {f"{name}/{key}": value.detach().numpy() for key, value in arrays.items()}


if __name__ == "__main__":
    stacks = {key: value for name in LAYERS for key, value in run_stack(name).items()}
    np.savez_compressed(pathlib.Path(__file__).with_name("torch_stacks.npz"), **stacks)
    every = {key: value for name in LAYERS for key, value in run(name).items()}
    np.savez_compressed(pathlib.Path(__file__).with_name("torch.npz"), **every)
