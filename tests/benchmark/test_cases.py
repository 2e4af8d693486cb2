import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from rnnlab.benchmark import default_config, read_grid
from rnnlab.benchmark.cases import Case, read_cases
from rnnlab.benchmark.implementations import read_implementations
from rnnlab.errors import UserError


def _config(**fields) -> ConfigDict:
    config = default_config()
    config.update(fields)
    return config


def test_the_grid_is_every_combination_of_its_fields():
    cases = read_cases(
        _config(cells="rnn, lstm", shapes="1,2x8x4 3x5,6x7", dtypes="float32 bfloat16", passes="forward,training")
    )
    assert len(set(cases)) == len(cases) == 2 * 4 * 2 * 2
    assert {(c.batch, c.length, c.hidden) for c in cases} == {(1, 8, 4), (2, 8, 4), (3, 5, 7), (3, 6, 7)}


def test_layers_and_unequal_lengths_are_axes_of_the_grid():
    cases = read_cases(_config(cells="rnn", shapes="2x8x4x1,3 2x8x4", lengths="equal,text"))
    assert [(c.layers, c.lengths) for c in cases] == [(n, kind) for kind in ("equal", "text") for n in (1, 3, 1)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cells": "lstn"}, r"config.cells: unknown value 'lstn'; allowed: .*lstm"),
        ({"dtypes": "float16"}, "config.dtypes: unknown 'float16'; allowed: float32, bfloat16"),
        ({"passes": "backward"}, "config.passes: unknown 'backward'"),
        ({"passes": " "}, "config.passes: is empty"),
        ({"shapes": "32x64"}, "'32x64' is not batch x length x hidden"),
        ({"shapes": "32x0x8"}, "'32x0x8' is not"),
        ({"shapes": ""}, "config.shapes: is empty"),
        ({"shapes": "1x2x3x4x5"}, "'1x2x3x4x5' is not batch x length x hidden"),
        ({"lengths": "words"}, "config.lengths: unknown 'words'; allowed: equal, text"),
        ({"repeats": 0}, "config.repeats: 0 is not allowed; it must be above 0"),
        ({"memory_limit_gb": -1.0}, "config.memory_limit_gb"),
        ({"implementations": "cuda"}, "config.implementations: unknown 'cuda'; allowed: products"),
    ],
)
def test_a_grid_that_means_nothing_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        read_grid(_config(**fields))


@pytest.mark.parametrize(
    "name",
    [
        "rnnlab/fast",
        "rnnlab/step/0",
        "rnnlab/block",
        "rnnlab/newton/all",
        "rnnlab/",
        "torch/sqrt",
        "flax",
        "torch/packed/packed",
        "torch/cores",
        "rnnlab/cores/packed",
    ],
)
def test_an_unknown_implementation_is_refused(name):
    with pytest.raises(ValueError, match=f"unknown '{name}'; allowed: products, rnnlab"):
        read_implementations(f"rnnlab {name}")


@pytest.mark.parametrize("pass_", ["forward", "training"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_operations_are_those_that_xla_counts_in_the_products_of_one_step(cell, pass_):
    """A single step, because XLA counts the body of a loop only once."""
    case = Case(cell, 3, 1, 8, "float32", pass_)
    gates = len(case.description.gates)
    weights, rows = jnp.zeros((8, gates * 8)), jnp.zeros((3, 8))

    def products(W, R, x, h, d):
        forward = x @ W + h @ R
        return forward if pass_ == "forward" else (forward, d @ W.T, d @ R.T, x.T @ d, h.T @ d)

    compiled = jax.jit(products).lower(weights, weights, rows, rows + 1, jnp.zeros((3, gates * 8))).compile()
    assert case.flops == pytest.approx(compiled.cost_analysis()["flops"], rel=0.05)


@pytest.mark.parametrize(
    ("cell", "products", "numbers"),
    [
        ("gru/diagonal", 3 * 8 * 8 + 3 * 8, 3 * 8 * 8 + 3 * 8 + 4 * 8),
        ("gru/heads2", 3 * 8 * 8 + 3 * 8 * 4, 3 * 8 * 8 + 3 * 8 * 4 + 4 * 8),
        ("min_gru", 2 * 8 * 8, 2 * 8 * 8 + 2 * 8),
    ],
)
def test_a_structure_of_r_counts_with_the_numbers_it_has(cell, products, numbers):
    case = Case(cell, 3, 5, 8, "float32", "forward")
    assert case.flops == 2 * 3 * 5 * products
    assert case.bytes == 4 * (2 * 3 * 5 * 8 + numbers)
