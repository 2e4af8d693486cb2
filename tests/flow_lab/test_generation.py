import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.cells import CELLS, find_cell
from rnnlab.flow_lab.config import default_config
from rnnlab.flow_lab.generation import autoregressive, fold, generate
from rnnlab.flow_lab.studies import read_plan
from rnnlab.scans import scan
from tests.flow_lab.setting import SETTING


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm", "slstm"])
def test_a_cell_that_is_autoregressive_does_what_a_loop_that_feeds_it_does(name):
    """The loop: run the cell a step, read out, add the noise, run it again."""
    cell, keys = CELLS[name], jax.random.split(jax.random.key(0), 5)
    params = cell.init(keys[0], 2, 5)
    params["b"] += 0.3 * jax.random.normal(keys[4], params["b"].shape)
    kernel, bias = jax.random.normal(keys[1], (5, 2)), jax.random.normal(keys[2], (2,))
    noise = jax.random.normal(keys[3], (7, 3, 2))
    state, wanted = cell.initial_state(3, 5), []
    for pushed in noise:
        hidden, state = scan(cell, params, (state[0] @ kernel + bias + pushed)[None], state=state, method="reference")
        wanted.append(hidden[0])
    found, _ = scan(autoregressive(cell), fold(cell, params, kernel, bias), noise)
    np.testing.assert_allclose(found, jnp.stack(wanted), atol=1e-5)


@pytest.mark.nightly
def test_a_trained_network_generates_a_wave(tmp_path):
    setting = dataclasses.replace(SETTING, cell="gru", task="wave", lag=20, learning_rate=0.01, steps=200)
    found = {name: value for _, name, value in generate(setting, 0, tmp_path / "run")}
    assert found["loss"] < found["floor"]
    assert found["exponent"] < 0
    assert found["iterations_chunks"] <= 20
    for way in ("full", "diagonal", "chunks"):
        assert found[f"iterations_{way}"] <= 100
        assert found[f"solved_{way}"] in (0, 1)


@pytest.mark.parametrize("name", ["gru_reset_before", "lstm_layer_norm", "gru/diagonal", "lru"])
def test_a_cell_that_cannot_be_autoregressive_is_refused(name):
    with pytest.raises(
        ValueError, match="cannot be autoregressive; that needs a dense R and b, neither read by combine"
    ):
        autoregressive(find_cell(name))


@pytest.mark.parametrize(("field", "value"), [("cells", "lru"), ("task", "adding")])
def test_the_config_is_told(field, value):
    config = default_config()
    config.generation[field] = value
    with pytest.raises(ValueError, match=rf"config\.generation\.{field}: "):
        read_plan(config)
