import dataclasses

import pytest
from jax import export

from rnnlab.cells import CELLS, find_cell
from rnnlab.scans import Plan, checkpoint_plan, resolve_plan


@pytest.mark.parametrize("time", [0, 1, 7, 64, 97, 1000, 1021, 4096])
@pytest.mark.parametrize("batch", [1, 16, 300])
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_every_block_divides_the_time(cell, time, batch):
    plan = resolve_plan(cell, time, batch)
    assert time % plan.block == 0
    assert not plan.recompute


def test_the_projection_is_one_product_where_that_is_cheap():
    assert resolve_plan(CELLS["rnn"], 512, 64, device="cpu").project == "block"
    assert resolve_plan(CELLS["lstm"], 512, 1, device="cpu").project == "block"
    assert resolve_plan(CELLS["lstm"], 512, 64, device="cpu").project == "step"


@pytest.mark.parametrize(
    ("name", "batch", "plan"),
    [
        ("lru", 1, Plan(512, project="block", pull="block")),
        ("lstm/none", 4, Plan(512, project="block", pull="block")),
        ("lru", 16, Plan(128)),
        ("gru/diagonal", 1, Plan(512, project="block")),
    ],
)
def test_a_loop_without_products_over_few_rows_does_as_little_as_it_can(name, batch, plan):
    assert resolve_plan(find_cell(name), 512, batch, device="cpu") == plan


@pytest.mark.parametrize(
    ("every", "time", "block"),
    [
        ("sqrt", 4096, 64),
        ("sqrt", 10, 5),
        ("sqrt", 101, 11),
        ("sqrt", 8192, 128),
        ("sqrt", 1, 1),
        (5, 12, 5),
        (50, 12, 12),
    ],
)
def test_checkpoints_are_as_far_apart_as_was_asked(every, time, block):
    plan = checkpoint_plan(CELLS["gru"], time, 8, every)
    assert (plan.block, plan.recompute) == (block, True)


@pytest.mark.parametrize("every", [0, -3, 1.5, "log"])
def test_a_checkpoint_interval_that_is_none_is_refused(every):
    with pytest.raises(ValueError, match=r"checkpoint_every must be .* 'sqrt'"):
        checkpoint_plan(CELLS["gru"], 12, 8, every)


def test_a_symbolic_time_has_no_square_root():
    (time,) = export.symbolic_shape("time")
    with pytest.raises(ValueError, match="a number of steps, not 'sqrt', where the time is symbolic"):
        checkpoint_plan(CELLS["gru"], time, 8, "sqrt")


def test_a_plan_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        Plan(0)
    with pytest.raises(ValueError, match="unroll must be at least 1, not 0"):
        Plan(1, unroll=0)
    with pytest.raises(ValueError, match="unknown project 'loop'; allowed: step, block"):
        Plan(1, project="loop")
    with pytest.raises(ValueError, match="unknown pull 'all'; allowed: step, block"):
        Plan(1, pull="all")
    with pytest.raises(ValueError, match="ahead requires project='block' and pull='block'"):
        Plan(1, project="block", ahead=True)


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("lstm", Plan(512, project="block", pull="block", unroll=4, joined=True)),
        ("lstm_layer_norm", Plan(64, project="block", pull="block", unroll=4, joined=True, ahead=True)),
    ],
)
def test_an_accelerator_gets_the_fewest_kernels_and_a_cpu_none_of_it(name, plan):
    assert resolve_plan(CELLS[name], 512, 16, device="gpu") == plan
    assert resolve_plan(CELLS[name], 512, 16, device="tpu") == dataclasses.replace(plan, joined=False)
    assert not resolve_plan(CELLS[name], 512, 16, device="cpu").joined
