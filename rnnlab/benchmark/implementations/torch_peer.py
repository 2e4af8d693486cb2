"""`torch.nn`'s recurrent layers."""

import contextlib

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import Unsupported
from rnnlab.benchmark.ragged import Batch


class TorchLayer:
    """One case of a `torch.nn` layer, time-major as ours.

    Sequences of unequal lengths are a `PackedSequence`; packing and unpacking are not timed.
    """

    def __init__(self, case: Case, kind: type[torch.nn.Module]):
        self._device, dtype = "cuda" if torch.cuda.is_available() else "cpu", getattr(torch, case.dtype)
        self._layer = kind(case.hidden, case.hidden, num_layers=case.layers).to(self._device, dtype)
        self._trains = case.pass_ == "training"
        random = torch.Generator(self._device).manual_seed(0)

        def draw(batch: Batch) -> torch.Tensor | PackedSequence:
            shape = (batch.time, case.batch, case.hidden)
            values = torch.randn(shape, generator=random, device=self._device).to(dtype)
            if batch.seq_lengths is None or case.arrangement == "padded":
                return values
            return pack_padded_sequence(values, torch.from_numpy(batch.seq_lengths.copy()), enforce_sorted=False)

        self._batches = [(draw(batch), _data(draw(batch))) for batch in case.batches]
        for inputs, _ in self._batches:
            _data(inputs).requires_grad_(self._trains)

    def build(self) -> dict[str, float | int | None]:
        """Does nothing: torch runs eagerly, without tracing, lowering or compiling."""
        return {}

    def run(self) -> None:
        """Runs all batches and waits for the end."""
        with contextlib.nullcontext() if self._trains else torch.inference_mode():
            for inputs, d_outputs in self._batches:
                self._forget_gradients()
                outputs, _ = self._layer(inputs)
                if self._trains:
                    _data(outputs).backward(d_outputs)
        if self._device == "cuda":
            torch.cuda.synchronize()

    def device_peak_bytes(self) -> int | None:
        """Returns the peak memory of one more run on a GPU, without that of other layers; None on a CPU."""
        if self._device == "cpu":
            return None
        self._forget_gradients()
        given = [values for inputs, d_outputs in self._batches for values in (_data(inputs), d_outputs)]
        own = sum(values.nbytes for values in (*given, *self._layer.parameters()))
        others = torch.cuda.memory_allocated() - own
        torch.cuda.reset_peak_memory_stats()
        self.run()
        return torch.cuda.max_memory_allocated() - others

    def _forget_gradients(self) -> None:
        self._layer.zero_grad()
        for inputs, _ in self._batches:
            _data(inputs).grad = None

    def facts(self) -> dict:
        """Returns no further figures."""
        return {}


def _data(values: torch.Tensor | PackedSequence) -> torch.Tensor:
    return values.data if isinstance(values, PackedSequence) else values


def torch_layer(case: Case) -> TorchLayer:
    """Builds `torch.nn.RNN`, `GRU` or `LSTM`."""
    kinds = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
    if case.cell not in kinds:
        raise Unsupported(f"has no cell {case.cell!r}")
    return TorchLayer(case, kinds[case.cell])
