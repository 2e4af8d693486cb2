"""`torch.nn`'s recurrent layers."""

import contextlib

import torch

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import Unsupported


class TorchLayer:
    """One case of a `torch.nn` layer, time-major as ours."""

    def __init__(self, case: Case, kind: type[torch.nn.Module]):
        self._device, dtype = "cuda" if torch.cuda.is_available() else "cpu", getattr(torch, case.dtype)
        self._layer = kind(case.hidden, case.hidden).to(self._device, dtype)
        shape, self._trains = (case.length, case.batch, case.hidden), case.pass_ == "training"
        random = torch.Generator(self._device).manual_seed(0)
        self._inputs, self._d_outputs = (
            torch.randn(shape, generator=random, device=self._device).to(dtype) for _ in range(2)
        )
        self._inputs.requires_grad_(self._trains)

    def build(self) -> dict[str, float | int | None]:
        """Torch runs as it is: nothing to trace, lower or compile."""
        return {}

    def run(self) -> None:
        """Runs once, to the end."""
        self._forget_gradients()
        with contextlib.nullcontext() if self._trains else torch.inference_mode():
            outputs, _ = self._layer(self._inputs)
            if self._trains:
                outputs.backward(self._d_outputs)
        if self._device == "cuda":
            torch.cuda.synchronize()

    def device_peak_bytes(self) -> int | None:
        """The most memory that one more run takes on a GPU, without what other layers hold; None on a CPU."""
        if self._device == "cpu":
            return None
        self._forget_gradients()
        own = sum(values.nbytes for values in (self._inputs, self._d_outputs, *self._layer.parameters()))
        others = torch.cuda.memory_allocated() - own
        torch.cuda.reset_peak_memory_stats()
        self.run()
        return torch.cuda.max_memory_allocated() - others

    def _forget_gradients(self) -> None:
        self._layer.zero_grad()
        self._inputs.grad = None

    def facts(self) -> dict:
        """Nothing more to say."""
        return {}


def torch_layer(case: Case) -> TorchLayer:
    """`torch.nn.RNN`, `GRU` or `LSTM`."""
    kinds = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
    if case.cell not in kinds:
        raise Unsupported(f"has no cell {case.cell!r}")
    return TorchLayer(case, kinds[case.cell])
