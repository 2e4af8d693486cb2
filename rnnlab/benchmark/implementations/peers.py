"""Peers in jax, each used as in its documentation."""

from typing import Any

import jax

from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import Unsupported
from rnnlab.benchmark.implementations.jax_layer import JaxLayer, draw, layer_of


def flax_linen(case: Case) -> JaxLayer:
    """Builds `flax.linen.RNN` over the cell with the same equations."""
    import flax.linen as nn

    cells = {"rnn": nn.SimpleCell, "gru": nn.GRUCell, "lstm": nn.OptimizedLSTMCell}
    cell = _of(cells, case)(case.hidden, dtype=case.dtype)
    start = _start(case, cell.initialize_carry(jax.random.key(0), (case.batch, case.hidden)))
    module = nn.RNN(cell, time_major=True)
    params = jax.jit(module.init)(jax.random.key(0), draw(case, "inputs"), initial_carry=start)

    def layer(params, rows):
        return module.apply(params, rows.inputs, initial_carry=start, seq_lengths=rows.seq_lengths)

    return layer_of(case, layer, params)


def flax_nnx(case: Case) -> JaxLayer:
    """Builds `flax.nnx.RNN` over the cell with the same equations."""
    from flax import nnx

    cells = {"rnn": nnx.SimpleCell, "gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell}
    cell = _of(cells, case)(case.hidden, case.hidden, dtype=case.dtype, rngs=nnx.Rngs(0))
    start = _start(case, cell.initialize_carry((case.batch, case.hidden), nnx.Rngs(0)))
    graph, *states = nnx.split(nnx.RNN(cell, time_major=True), nnx.Param, ...)

    def layer(params, rows):
        module = nnx.merge(graph, params, *states[1:], copy=True)
        return module(rows.inputs, initial_carry=start, seq_lengths=rows.seq_lengths)

    return layer_of(case, layer, states[0])


def jax_cudnn(case: Case) -> JaxLayer:
    """Builds `jax.experimental.rnn.lstm`, which is cuDNN's, batch-major.

    Raises:
      Unsupported: anything but an LSTM in float32 on a GPU.
    """
    from jax.experimental import rnn

    if (case.cell, case.dtype) != ("lstm", "float32"):
        raise Unsupported("needs an LSTM in float32")
    if jax.default_backend() != "gpu":
        raise Unsupported("is cuDNN's, which needs a GPU")
    sizes: dict[str, Any] = {"input_size": case.hidden, "hidden_size": case.hidden}
    sizes |= {"num_layers": 1, "bidirectional": False}
    start = jax.numpy.zeros((1, case.batch, case.hidden))

    def layer(params, rows):
        full = jax.numpy.full(case.batch, rows.inputs.shape[1], "int32")
        lengths = full if rows.seq_lengths is None else rows.seq_lengths
        return rnn.lstm(rows.inputs, start, start, params, lengths, dropout=0.0, **sizes)[0]

    return layer_of(case, layer, rnn.init_lstm_weight(jax.random.key(0), **sizes), batch_major=True)


def haiku(case: Case) -> JaxLayer:
    """Builds `haiku.dynamic_unroll`."""
    import haiku as hk

    cells = {"rnn": hk.VanillaRNN, "gru": hk.GRU, "lstm": hk.LSTM}
    kind = _of(cells, case)

    def unroll(inputs):
        core = kind(case.hidden)
        return hk.dynamic_unroll(core, inputs, _start(case, core.initial_state(case.batch)))[0]

    _refuse_lengths(case)
    module = hk.without_apply_rng(hk.transform(unroll))
    params = jax.jit(module.init)(jax.random.key(0), draw(case, "inputs"))
    return layer_of(case, lambda params, rows: module.apply(params, rows.inputs), params)


def equinox(case: Case) -> JaxLayer:
    """Builds a scan over an `equinox.nn` cell, for one sequence, under `jax.vmap`."""
    import equinox as eqx

    cells = {"gru": eqx.nn.GRUCell, "lstm": eqx.nn.LSTMCell}
    _refuse_lengths(case)
    params, static = eqx.partition(_of(cells, case)(case.hidden, case.hidden, key=jax.random.key(0)), eqx.is_array)
    zeros = jax.numpy.zeros(case.hidden, case.dtype)
    start = (zeros, zeros) if case.cell == "lstm" else zeros

    def layer(params, rows):
        cell = eqx.combine(params, static)

        def step(state, x):
            state = cell(x, state)
            return state, state[0] if case.cell == "lstm" else state

        def one_sequence(sequence):
            return jax.lax.scan(step, start, sequence)[1]

        return jax.vmap(one_sequence, in_axes=1, out_axes=1)(rows.inputs)

    return layer_of(case, layer, params)


def _start(case: Case, state):
    """Returns an initial state in the dtype that the step returns: peers start in float32 for all inputs."""
    return jax.tree.map(lambda v: v.astype(case.dtype), state)


def _of(cells: dict, case: Case):
    if case.cell not in cells:
        raise Unsupported(f"has no cell {case.cell!r}")
    return cells[case.cell]


def _refuse_lengths(case: Case) -> None:
    if case.is_ragged and case.arrangement != "padded":
        raise Unsupported("does not support sequence lengths, only padding")
