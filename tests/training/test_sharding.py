import functools
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.training.devices import Devices
from rnnlab.training.guard import Guard
from rnnlab.training.sharding import parse_rules
from rnnlab.training.step import TrainState
from tests import tiny

PARAMS = {
    "encoder/embedding/embedding": np.ones((8, 3)),
    "stack/params/R": np.ones((2, 8)),
    "stack/params/W": np.ones((4, 8)),
    "stack/params/b": np.ones(8),
    "output/kernel": np.ones((3, 8)),
    "mix/kernel": np.ones((5, 8)),  # not divisible
}


@pytest.fixture
def eight_devices(monkeypatch):
    """A mesh of 2 x 4 devices that need not be there."""
    mesh = AbstractMesh((2, 4), ("data", "model"), (AxisType.Auto, AxisType.Auto))
    monkeypatch.setattr(jax, "make_mesh", lambda *shape, **kinds: mesh)


def _shardings(**fields) -> TrainState:
    config = default_config()
    config.training.update(fields)
    state = TrainState(np.zeros(()), PARAMS, {"mu": PARAMS}, Guard.start(), carry={"h": np.ones((6, 3))})
    return jax.tree.map(lambda of: of.spec, Devices(config.training).shardings(state))


def test_by_default_what_a_loop_reads_stays_whole_or_is_split_by_rows(eight_devices):
    found = _shardings()
    assert found.params == {
        "encoder/embedding/embedding": PartitionSpec("model", None),
        "stack/params/R": PartitionSpec(None, None),
        "stack/params/W": PartitionSpec("model", None),
        "stack/params/b": PartitionSpec(None),
        "output/kernel": PartitionSpec(None, "model"),
        "mix/kernel": PartitionSpec(None, None),
    }
    assert found.optimizer["mu"] == found.params
    assert found.step == PartitionSpec()
    assert found.carry["h"] == PartitionSpec("data", None)


def test_the_first_rule_that_matches_counts(eight_devices):
    found = _shardings(sharding="W$=- stack=-,model,-").params
    assert found["stack/params/W"] == PartitionSpec(None, None)
    assert found["stack/params/R"] == PartitionSpec(None, "model")
    assert found["stack/params/b"] == PartitionSpec(None)  # has no second axis
    assert found["output/kernel"] == PartitionSpec(None, None)


def test_the_optimizer_s_copies_can_be_split_over_the_devices_that_share_a_batch(eight_devices):
    found = _shardings(shard_optimizer=True)
    assert found.params == _shardings().params
    assert found.optimizer["mu"] == {
        "encoder/embedding/embedding": PartitionSpec("model", None),  # 3 is odd
        "stack/params/R": PartitionSpec("data", None),
        "stack/params/W": PartitionSpec("model", "data"),
        "stack/params/b": PartitionSpec("data"),
        "output/kernel": PartitionSpec(None, "model"),
        "mix/kernel": PartitionSpec(None, "data"),
    }


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("W", "'W' is not a rule; write pattern=axis,axis"),
        ("W$=rows,-", "unknown axis 'rows' in 'W[$]=rows,-'; allowed: data, model, and -"),
        ("W$=model,model", "'W[$]=model,model' splits two axes of a parameter over the same axis"),
        ("(W=model", "'[(]W' is not a regular expression"),
        ("V$=model,-", "'V[$]=model,-' matches no parameter; there are encoder/embedding/embedding, "),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(eight_devices, rules, message):
    with pytest.raises(UserError, match=f"config.training.sharding: {message}"):
        _shardings(sharding=rules)


def test_a_rule_may_contain_an_equals_sign():
    (rule,) = parse_rules("a=b=data,-:gather")
    assert (rule.pattern.pattern, rule.axes, rule.gathered) == ("a=b", ("data", None), True)


@functools.cache
def _over_devices(*fields: str) -> dict:
    command = [sys.executable, "-m", "tests.training.over_devices", *fields]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_enable_concurrency_optimized_scheduler=false"
    done = subprocess.run(command, cwd=tiny.ROOT, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("mesh", ["4x1", "2x2"])
def test_devices_exchange_nothing_in_a_loop_of_a_training_step(mesh):
    found = _over_devices()[mesh]
    assert found["outside"]["all-reduce"] > 0  # the gradients
    assert found["loops"] == {}


def test_an_optimizer_over_four_devices_takes_a_quarter_of_the_memory():
    found = _over_devices()["4x1"]
    assert found["optimizer_bytes, sharded"] == pytest.approx(found["optimizer_bytes"] / 4, rel=0.02)


@pytest.mark.parametrize("part", ["loss", "search"])
def test_each_of_eight_devices_evaluates_an_eighth(part):
    found = _over_devices()["evaluation"][part]
    assert found["work"] == pytest.approx(1 / 8, rel=0.1)
    assert found["loops"] == {}


@pytest.mark.nightly
@pytest.mark.parametrize(("generator", "rows"), [("rbg", 32), ("threefry2x32", 8)])
def test_with_threefry_each_of_four_devices_draws_only_its_own_rows(generator, rows):
    assert _over_devices(f'training.generator="{generator}"')["4x1"]["rows_drawn"] == rows


def test_an_evaluation_over_eight_devices_has_the_scores_of_one():
    shared, alone = _over_devices()["evaluation"]["scores"]
    assert shared == pytest.approx(alone, rel=1e-6)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "fields",
    [
        ("model.encoder.layers=2", "model.encoder.bidirectional=true", "model.decoder.dropout=0.5"),
        ("model.encoder.dropout=0.0", "model.decoder.dropout=0.0", 'model.encoder.cell="gru"'),
        ('model.decoder.cell="slstm/heads4"', "model.tied_embeddings=true", "model.decoder.embedding=24"),
        ('model.encoder.cell="lru"', 'model.decoder.block="prenorm"', 'training.generator="threefry2x32"'),
    ],
    ids=lambda fields: fields[0],
)
def test_nothing_is_exchanged_in_the_loops_of_other_models(fields):
    found = _over_devices(*fields)
    parts = [found["4x1"], found["2x2"], found["evaluation"]["loss"], found["evaluation"]["search"]]
    assert [part["loops"] for part in parts] == [{}] * 4
