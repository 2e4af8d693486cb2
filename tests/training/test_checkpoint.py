import logging
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.training import checkpoint, distributed
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.guard import Guard
from rnnlab.training.optimizer import OPTIMIZERS, make_optimizer
from rnnlab.training.step import TrainState

RECORD = {"batches": {"buffers": [[1, 2], []]}, "decision": {"best": 1.5}}


def _state(value: float) -> TrainState:
    params = {"W": jnp.full((64, 8), value)}
    state = TrainState(jnp.int32(value), params, (jnp.arange(3.0) + value, ()), Guard.start())
    return jax.tree.map(np.asarray, state)


def _saved(folder: pathlib.Path, steps=(1, 2)) -> None:
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(step, _state(step), RECORD | {"step": step})
    checkpoints.close()


def _restored(folder: pathlib.Path):
    checkpoints = Checkpoints(folder)
    found = checkpoints.restore(_state(0))
    checkpoints.close()
    return found


def test_what_was_saved_last_comes_back_as_it_was(tmp_path):
    _saved(tmp_path / "c", (1, 2, 3))
    found = _restored(tmp_path / "c")
    assert found.step == 3
    assert found.record == RECORD | {"step": 3}
    assert isinstance(found.arrays, TrainState)
    np.testing.assert_array_equal(found.arrays.params["W"], _state(3).params["W"])
    assert sorted(p.name for p in (tmp_path / "c").iterdir() if p.name.isdigit()) == ["2", "3"]


def test_an_empty_folder_holds_none(tmp_path):
    assert _restored(tmp_path / "c") is None


def _flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "removed": pathlib.Path.unlink,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one bit flipped": _flip,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_each_damaged_file_is_restored_whole_or_passed_over_with_a_word(tmp_path, damage, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    _saved(tmp_path / "whole")
    files = [p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole" / "2").rglob("*") if p.is_file()]
    passed_over = 0
    for number, file in enumerate(files):
        folder = tmp_path / str(number) / "c"
        shutil.copytree(tmp_path / "whole", folder)
        caplog.clear()
        damage(folder / file)
        found = _restored(folder)
        if found.step == 2:  # a file that restoring does not need
            assert "is damaged" not in caplog.text
        else:
            passed_over += 1
            assert found.step == 1
            assert "is damaged" in caplog.text
            (aside,) = (folder.parent / "damaged").iterdir()
            assert str(aside) in caplog.text
        np.testing.assert_array_equal(found.arrays.params["W"], _state(found.step).params["W"])
        assert found.record["step"] == found.step
    assert passed_over > 0


def test_arrays_of_another_checkpoint_are_noticed(tmp_path):
    """Whole as they are, so that nothing but the digest tells."""
    _saved(tmp_path / "c")
    shutil.rmtree(tmp_path / "c" / "2" / "arrays")
    shutil.copytree(tmp_path / "c" / "1" / "arrays", tmp_path / "c" / "2" / "arrays")
    assert _restored(tmp_path / "c").step == 1


def test_a_step_that_is_there_already_is_left_as_it_is(tmp_path):
    _saved(tmp_path / "c")
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(2, _state(9), RECORD)
    checkpoints.close()
    assert _restored(tmp_path / "c").arrays.params["W"][0, 0] == 2


def test_as_many_are_kept_as_asked_for_and_come_newest_first(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep=3)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, _state(step), RECORD)
    assert [found.step for found in checkpoints.newest(_state(0))] == [4, 3, 2]
    checkpoints.close()


def test_what_cannot_be_saved_is_told_of_and_what_was_saved_before_stays(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, _state(1), RECORD)
    assert checkpoints.steps() == [1]  # it is written

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", full)
    checkpoints.save(2, _state(2), RECORD)
    checkpoints.close()
    text = "2 could not be saved (no space left on the device); the last one is that of step 1; training continues"
    assert text in caplog.text
    assert _restored(tmp_path / "c").step == 1


def test_later_steps_are_forgotten_and_can_be_saved_anew(tmp_path):
    _saved(tmp_path / "c", (1, 2))
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.forget_after(1) == [2]
    assert checkpoints.steps() == [1]
    checkpoints.save(2, _state(9), RECORD)
    checkpoints.close()
    assert _restored(tmp_path / "c").arrays.params["W"][0, 0] == 9


def test_who_only_reads_leaves_a_damaged_one_where_it_is(tmp_path):
    _saved(tmp_path / "c")
    _flip(max((tmp_path / "c" / "2" / "arrays").rglob("*"), key=lambda path: path.stat().st_size * path.is_file()))
    before = sorted(tmp_path.rglob("*"))
    checkpoints = Checkpoints(tmp_path / "c", reading=True)
    assert checkpoints.restore(_state(0)).step == 1
    checkpoints.close()
    assert sorted(tmp_path.rglob("*")) == before


def test_all_but_one_are_forgotten_only_if_that_one_is_there(tmp_path):
    _saved(tmp_path / "c", (1, 2))
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.keep_only(3)
    assert checkpoints.steps() == [1, 2]
    checkpoints.keep_only(1)
    assert checkpoints.steps() == [1]
    checkpoints.close()


PARAMS = {"W": np.full((2, 3), 4.0, np.float32), "b": np.full(3, 5.0, np.float32)}


def _trained(value: float, **fields) -> TrainState:
    """A state all of whose arrays hold `value`, as an optimizer makes it."""
    training = default_config().training
    training.update(fields)
    state = TrainState.start(PARAMS, make_optimizer(training))
    return jax.tree.map(lambda leaf: np.full(leaf.shape, value, leaf.dtype), state)


# Each field of config.training with another value than its default, where need be beside what allows it.
OTHERS: dict[str, dict] = {
    name: {name: usual / 2 + 0.25 if isinstance(usual, float) else type(usual)(usual + 1)}
    for name, usual in default_config().training.items()
    if not isinstance(usual, str)
}
OTHERS |= {f"optimizer {name}": {"optimizer": name} for name in OPTIMIZERS}
OTHERS["optimizer nt_asgd"]["average_decay"] = 0.0  # it has an average of its own
OTHERS |= {
    "schedule": {"schedule": "constant"},
    "schedule_steps": {"schedule_steps": 2 * default_config().training.steps},
    "warmup_steps": {"schedule": "inverse_sqrt", "warmup_steps": 3},
    "weight_decay": {"optimizer": "adamw", "weight_decay": 0.1},
    "clip_value": {"clip_global_norm": 0.0, "clip_value": 0.5},
    "both": {"optimizer": "sgd", "average_decay": 0.9},
}


def test_a_checkpoint_restores_into_any_other_optimizer_s_state_and_is_never_called_damaged(
    tmp_path, caplog, monkeypatch
):
    """Whatever field of `training` changes: parameters, step and what both optimizers know come from the checkpoint;
    what it lacks starts anew, with a warning."""
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    for fields in ({}, {"average_decay": 0.9}):
        checkpoints = Checkpoints(tmp_path / str(fields))
        checkpoints.save(1, saved := _trained(7, **fields), RECORD)
        known = jax.tree_util.tree_flatten_with_path(saved)[0]
        known = {(jax.tree_util.keystr(path), leaf.shape) for path, leaf in known}
        differing = set()
        for field, changed in OTHERS.items():
            caplog.clear()
            like = _trained(1, **fields | changed)
            found = checkpoints.restore(like, optional="optimizer")
            assert (found.step, found.record) == (1, RECORD)
            leaves, structure = jax.tree_util.tree_flatten_with_path(found.arrays)
            assert structure == jax.tree.structure(like)
            lacks = 0
            for path, leaf in leaves:
                is_known = (jax.tree_util.keystr(path), leaf.shape) in known
                lacks += not is_known
                np.testing.assert_array_equal(leaf, 7 if is_known else 1)
            assert all(leaf.min() == 7 for leaf in found.arrays.params.values())
            if lacks or len(leaves) != len(known):
                differing.add(field)
            assert ("restart or are dropped" in caplog.text) == (field in differing)
            assert "damaged" not in caplog.text
        assert {"both", "optimizer sgd"} <= differing
        assert all({"optimizer", "average_decay"} & {*OTHERS[field]} for field in differing), "a new one to know of"
        checkpoints.close()
    assert not (tmp_path / "damaged").exists()


@pytest.mark.parametrize(
    "other",
    [
        {"W": PARAMS["W"]},
        PARAMS | {"c": PARAMS["b"]},
        PARAMS | {"W": PARAMS["W"].T},
        PARAMS | {"b": PARAMS["b"].astype(np.float16)},
    ],
    ids=["fewer", "more", "shape", "type"],
)
@pytest.mark.parametrize("reading", [False, True])
def test_a_checkpoint_of_another_model_is_refused_by_name_and_stays(tmp_path, other, reading):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, PARAMS, RECORD)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "c", reading=reading)
    with pytest.raises(UserError, match=r"checkpoint .*/c/1 is intact but of another model .*: [Wbc] differ"):
        checkpoints.restore(other)
    assert checkpoints.steps() == [1]
    checkpoints.close()


# Pieces of two processes, as `own_pieces` names them.
PIECES: list[dict[str, np.ndarray]] = [
    {"W@0:1,0:3": np.full((1, 3), 1.0, np.float32), "b": np.arange(3.0, dtype=np.float32)},
    {"W@1:2,0:3": np.full((1, 3), 2.0, np.float32)},
]


@pytest.fixture
def two_processes(monkeypatch):
    """`(folder, steps, failing=()) -> None` saves the pieces of two processes; the second one fails at some steps."""
    monkeypatch.setattr(checkpoint, "own_pieces", lambda arrays: arrays)
    monkeypatch.setattr(checkpoint, "holders", lambda arrays: {0, 1})

    def save(folder: pathlib.Path, steps, failing=()) -> None:
        both = [Checkpoints(folder, process=process, processes=2) for process in (0, 1)]
        own = both[1]._manager.save

        def write(step, **options):
            if step in failing:
                raise OSError(28, "No space left on device")
            own(step, **options)

        monkeypatch.setattr(both[1]._manager, "save", write)
        for step in steps:
            for each in both:  # what `distributed.largest` would find
                each._finish()
            failed = max(each._failed for each in both)
            monkeypatch.setattr(distributed, "largest", lambda own, failed=failed: failed)
            monkeypatch.setattr(
                distributed, "agree", lambda own, key=f"{folder}/{step}": own if isinstance(own, list) else key
            )
            for each, pieces in zip(both, PIECES, strict=True):
                each.save(step, pieces, RECORD)
        for each in both:
            each.close()

    return save


def _whole(folder: pathlib.Path):
    checkpoints = Checkpoints(folder)
    found = checkpoints.restore({"W": np.zeros((2, 3), np.float32), "b": np.zeros(3, np.float32)})
    checkpoints.close()
    return found


def test_the_parts_of_all_processes_come_back_as_whole_arrays(tmp_path, two_processes):
    two_processes(tmp_path / "c", (1, 2))
    assert sorted(path.name for path in (tmp_path / "process_1" / "c").iterdir()) == ["1", "2"]
    found = _whole(tmp_path / "c")
    assert (found.step, found.record) == (2, RECORD)
    np.testing.assert_array_equal(found.arrays["W"], [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(found.arrays["b"], PIECES[0]["b"])


@pytest.mark.parametrize("damage", ["missing", "of another save", "one bit of each file flipped"])
def test_a_checkpoint_with_a_part_that_is_not_whole_is_passed_over(tmp_path, two_processes, damage):
    two_processes(tmp_path / "c", (1, 2))
    part = tmp_path / "process_1" / "c" / "2"
    if damage == "missing":
        shutil.rmtree(part)
    elif damage == "of another save":
        two_processes(tmp_path / "other", (2,))
        shutil.rmtree(part)
        shutil.copytree(tmp_path / "process_1" / "other" / "2", part)
    else:
        for path in part.rglob("*"):
            if path.is_file() and path.stat().st_size:
                _flip(path)
    assert _whole(tmp_path / "c").step == 1


def test_a_checkpoint_that_one_process_cannot_write_costs_no_earlier_one(tmp_path, two_processes, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    two_processes(tmp_path / "c", (1, 2, 3, 4, 5), failing=(3, 4, 5))
    assert "3 could not be saved (another process could not write its part)" in caplog.text
    assert _whole(tmp_path / "c").step == 2


def test_processes_that_do_not_share_the_folder_are_refused(tmp_path, two_processes, monkeypatch):
    first = Checkpoints(tmp_path / "c", process=0, processes=2)
    monkeypatch.setattr(distributed, "largest", lambda own: own)
    monkeypatch.setattr(distributed, "agree", lambda own: own)
    with pytest.raises(
        UserError, match=r"process 0 does not see the files of process 1 in .*; processes that each hold"
    ):
        first.save(1, PIECES[0], RECORD)
    first.close()
