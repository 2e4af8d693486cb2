"""The files of `configs/`, as far as they can be checked without training."""

import importlib
import math

import jax
import numpy as np
import pytest
from flax import nnx

from rnnlab.models import Seq2Seq
from rnnlab.models.weights import to_torch
from rnnlab.training.step import split_model

GERMAN, ENGLISH = 7853, 5893  # words seen twice in Multi30k, and four special tokens


@pytest.mark.parametrize(
    ("name", "published"), [("multi30k_1", 13_898_501), ("multi30k_2", 14_219_781), ("multi30k_3", 20_518_405)]
)
def test_a_tutorials_model_has_its_number_of_parameters_with_torchs_second_bias(name, published):
    """Torch keeps two biases for each gate of which only the sum counts (but for the GRU's candidate); we keep one."""
    config = importlib.import_module(f"configs.{name}").get_config()
    model = nnx.eval_shape(lambda: Seq2Seq(GERMAN, ENGLISH, rngs=nnx.Rngs(0), **config.model.to_dict()))
    size = sum(math.prod(value.shape) for value in split_model(model)[1].values())
    for stack in (model.encoder.stack, model.decoder.stack):
        size -= sum(math.prod(value.shape) for value in jax.tree.leaves(nnx.state(stack)))
        nnx.update(stack, jax.tree.map(lambda value: np.zeros(value.shape, value.dtype), nnx.state(stack)))
        size += sum(value.size for value in to_torch(stack).values())
    assert size == published
