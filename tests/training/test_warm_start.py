import logging
import shutil

import jax
import numpy as np
import pytest

from rnnlab.errors import UserError
from rnnlab.training import loop
from rnnlab.training.programs import Programs
from rnnlab.training.report import best_params
from rnnlab.training.warm_start import frozen_names
from rnnlab.training.workdir import create_task, open_task
from tests.tasks import counting

NAMES = ["encoder/embedding/embedding", "encoder/stack/layers/0/0/params/R", "decoder/output/bias"]


def _start(config, workdir) -> dict[str, np.ndarray]:
    task = create_task(config, workdir)
    with loop.Training(task, Programs(task)) as run:
        pass
    return {name: np.array(value) for name, value in run.state.params.items()}


def test_a_run_starts_from_what_fits_of_another_and_tells_what_does_not(
    trained, tiny_config, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    config = tiny_config(model__decoder__features=20, model__attention="none", training__init_from=str(trained))
    with caplog.at_level(logging.INFO, logger="rnnlab"):
        params = _start(config, tmp_path / "w")
    fresh = _start(tiny_config(model__decoder__features=20, model__attention="none"), tmp_path / "fresh")
    _, found = best_params(open_task(trained))
    taken = [name for name, value in params.items() if name in found and found[name].shape == value.shape]
    assert {"encoder/stack/layers/0/0/params/R", "decoder/embedding/embedding"} <= set(taken)
    assert "decoder/stack/layers/0/0/params/R" not in taken
    for name, value in params.items():
        np.testing.assert_array_equal(value, found[name] if name in taken else fresh[name])
    assert f"{len(taken)} of {len(params)} parameters from step" in caplog.text
    assert "new: bridge/" in caplog.text or "new: decoder/" in caplog.text


@pytest.mark.nightly
def test_a_run_whose_checkpoints_are_all_damaged_starts_as_it_did_the_first_time(trained, tiny_config, tmp_path):
    config = tiny_config(training__init_from=str(trained), training__evaluate_every=40)
    begun = _start(config, tmp_path / "w")
    loop.train(config, tmp_path / "w")
    for path in (tmp_path / "w" / "checkpoints").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    again = _start(config, tmp_path / "w")
    jax.tree.map(np.testing.assert_array_equal, again, begun)


def test_frozen_parameters_stay_whatever_the_optimizer_does_and_clipping_leaves_them_out(tiny_config, tmp_path):
    fields = {"optimizer": "adamw", "weight_decay": 0.5, "freeze": "encoder/*,decoder/embedding/*", "steps": 5}
    fields |= {"average_decay": 0.9, "evaluate_every": 5, "best_metric": "loss"}
    config = tiny_config()
    config.training.update(fields)
    before = _start(config, tmp_path / "w")
    loop.train(config, tmp_path / "w")
    _, after = best_params(open_task(tmp_path / "w"))
    for name, value in before.items():
        same = np.allclose(value, after[name], atol=1e-7)
        assert same == name.startswith(("encoder/", "decoder/embedding/")), name


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [("", set()), ("encoder/*", set(NAMES[:2])), ("*/R, */bias", set(NAMES[1:])), ("decoder/**", {NAMES[2]})],
)
def test_names_are_frozen_by_patterns(patterns, frozen):
    assert frozen_names(NAMES, patterns) == frozen


@pytest.mark.parametrize(
    ("patterns", "message"),
    [("encoder/* bridge/*", "'bridge/\\*' matches no parameter; there are encoder"), ("*", "leaves nothing to train")],
)
def test_patterns_that_do_nothing_or_everything_are_refused(patterns, message):
    with pytest.raises(UserError, match=message):
        frozen_names(NAMES, patterns)


def test_another_task_or_a_run_without_a_checkpoint_is_no_start(tiny_config, tmp_path):
    create_task(counting.get_config(), tmp_path / "other")
    create_task(tiny_config(), tmp_path / "empty")
    for name, message in (("other", "is of .*Counting, not of seq2seq"), ("empty", "no intact checkpoint")):
        config = tiny_config(training__init_from=str(tmp_path / name))
        with pytest.raises(UserError, match=rf"config\.training\.init_from: .*{message}"):
            _start(config, tmp_path / f"from_{name}")


def test_a_run_on_other_data_takes_the_vocabularies_of_another(trained, tiny_config, tiny_data, tmp_path):
    """Of which the new data have only some tokens."""
    few = [line for line in (tiny_data / "train.tsv").read_text().splitlines() if "g" not in line]
    (tmp_path / "few.tsv").write_text("\n".join(few))
    fields = {f"data__files__{split}": str(tmp_path / "few.tsv") for split in ("train", "validation", "test")}
    task = create_task(tiny_config(**fields, data__vocabularies=str(trained)), tmp_path / "w")
    assert task.source == open_task(trained).source
    assert len(create_task(tiny_config(**fields), tmp_path / "own").source) == len(task.source) - 1
    with pytest.raises(UserError, match=r"config\.data\.source\.lowercase: True, but the vocabulary was built with"):
        create_task(tiny_config(data__source__lowercase=True, data__vocabularies=str(trained)), tmp_path / "no")


def test_pretrained_embeddings_are_those_of_their_tokens(tiny_config, tmp_path):
    """In word2vec's text format, with its first line, and with tokens that the data do not have."""
    rows = {"a": np.arange(8.0), "c": -np.ones(8), "zebra": np.ones(8)}
    lines = [f"{token} {' '.join(map(str, row))}" for token, row in rows.items()]
    path = tmp_path / "vectors.txt"
    for head in ("", "3 8\n"):
        path.write_text(head + "\n".join(lines))
        config = tiny_config(data__source__embeddings=str(path))
        shutil.rmtree(tmp_path / "w", ignore_errors=True)
        params = _start(config, tmp_path / "w")
        ids = open_task(tmp_path / "w").source.ids
        table = params["encoder/embedding/embedding"]
        np.testing.assert_array_equal(table[ids["a"]], rows["a"])
        np.testing.assert_array_equal(table[ids["c"]], rows["c"])
        assert not np.array_equal(table[ids["b"]], rows["a"])
    path.write_text("a 1 2 3")
    shutil.rmtree(tmp_path / "w")
    with pytest.raises(UserError, match=r"vectors\.txt, line 1: must have 8 finite numbers"):
        _start(config, tmp_path / "w")
    assert jax.tree.leaves(params)
