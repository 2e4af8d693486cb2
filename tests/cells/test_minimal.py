import numpy as np
import oracle
import pytest
from oracle import HIDDEN, sigmoid

from rnnlab.cells import CELLS
from rnnlab.scans import scan


def _gates(params, x):
    pre = x @ params["W"] + params["b"]
    return [pre[:, k : k + HIDDEN] for k in range(0, pre.shape[1], HIDDEN)]


def _positive(x):
    return np.where(x >= 0, x + 0.5, sigmoid(x))


BENDS = {"": lambda x: x, "_log": _positive}


@pytest.mark.parametrize("kind", BENDS)
def test_min_gru_is_that_of_the_paper(kind):
    def step(params, state, x):
        z, candidate = _gates(params, x)
        return ((1 - sigmoid(z)) * state[0] + sigmoid(z) * BENDS[kind](candidate),)

    oracle.assert_follows_formula(f"min_gru{kind}", step)


@pytest.mark.parametrize("kind", BENDS)
def test_min_lstm_is_that_of_the_paper(kind):
    def step(params, state, x):
        f, i, candidate = _gates(params, x)
        f, i = sigmoid(f), sigmoid(i)
        return (f / (f + i) * state[0] + i / (f + i) * BENDS[kind](candidate),)

    oracle.assert_follows_formula(f"min_lstm{kind}", step)


@pytest.mark.parametrize("name", ["min_gru_log", "min_lstm_log"])
def test_the_log_forms_are_the_scan_of_the_papers_appendix_in_log_space(name):
    """log h_t = sum of log decays + logcumsumexp(log h_0, log drives less that sum), there a parallel scan."""
    params, inputs, state = oracle.example(name)
    h0 = np.abs(state[0])
    decays, drives = [], []
    for x in inputs:
        *gates, candidate = _gates(params, x)
        share = sigmoid(gates[0]), sigmoid(-gates[0])
        if name == "min_lstm_log":
            f, i = sigmoid(gates[0]), sigmoid(gates[1])
            share = i / (f + i), f / (f + i)
        decays.append(np.log(share[1]))
        drives.append(np.log(share[0] * _positive(candidate)))
    total = np.cumsum(decays, axis=0)
    terms = np.concatenate([np.log(h0)[None], np.stack(drives) - total])
    wanted = np.exp(total + np.logaddexp.accumulate(terms, axis=0)[1:])
    outputs, _ = scan(
        CELLS[name], {k: v.astype(np.float32) for k, v in params.items()}, np.float32(inputs), state=(np.float32(h0),)
    )
    np.testing.assert_allclose(outputs, wanted, rtol=1e-5)
