import csv
import json
from unittest import mock

import pytest

from rnnlab.benchmark import default_config, driver, run
from rnnlab.errors import UserError


def _config(**fields):
    config = default_config()
    config.update({"cells": "gru", "shapes": "2x8,16x4", "repeats": 2, "implementations": "products,rnnlab,lax.scan"})
    config.update(fields)
    return config


def _known_limits(dtype):
    """Limits that need not be measured, which takes ten seconds."""
    return {"flops_per_s": 1e10, "copied_bytes_per_s": 1e10, "empty_step_s": 1e-7, "device": "cpu"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("bench")
    with mock.patch.object(driver, "_measure_limits", _known_limits):
        assert run(_config(), workdir)
    return workdir


@pytest.mark.nightly
def test_limits_are_measured_by_a_process_of_their_own():
    found = driver._measure_limits("float32")
    assert min(found[name] for name in ("flops_per_s", "copied_bytes_per_s", "empty_step_s")) > 0


@pytest.mark.nightly
def test_every_implementation_has_a_row_for_every_case(measured):
    record = json.loads((measured / "benchmark.json").read_text())
    with open(measured / "benchmark.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [(row["implementation"], row["length"]) for row in record["rows"]]
    assert found == [(name, length) for length in (8, 16) for name in ("products", "rnnlab", "lax.scan")]
    assert [(row["implementation"], int(row["length"])) for row in rows] == found
    assert record["machine"]["versions"]["jax"]
    assert set(record["limits"]) == {"float32"}


@pytest.mark.nightly
def test_the_figures_of_a_row_follow_from_its_times(measured):
    for row in json.loads((measured / "benchmark.json").read_text())["rows"]:
        assert row["status"] == "ok"
        assert row["repeats"] == 2
        assert row["best_ms"] <= row["median_ms"]
        assert row["us_per_step"] * row["length"] == pytest.approx(1e3 * row["best_ms"])
        assert row["tokens_per_s"] * row["best_ms"] == pytest.approx(1e3 * row["batch"] * row["length"])
        assert min(row["trace_s"], row["lower_s"], row["compile_s"], row["first_call_s"]) > 0
        assert row["us_per_empty_step"] > 0
        assert row["peak_bytes"] >= 0


@pytest.mark.nightly
def test_the_pictures_are_drawn(measured):
    names = {path.name for path in measured.glob("*.png")}
    rest = "gru_B2_H4_float32_training"
    assert names == {f"time_{rest}.png", f"compile_{rest}.png", f"memory_{rest}.png", "ratio_to_best_peer.png"}


@pytest.mark.nightly
@mock.patch.object(driver, "_measure_limits", _known_limits)
def test_what_cannot_be_measured_is_a_row_that_says_why(tmp_path, capsys):
    """Out of memory in one process, a cell that a peer lacks in another: the rest is measured all the same."""
    config = _config(cells="rnn_relu", shapes="64x30000x512", implementations="rnnlab,flax.nnx", memory_limit_gb=1.0)
    assert not run(config, tmp_path)
    ours, flax = json.loads((tmp_path / "benchmark.json").read_text())["rows"]
    assert "emory" in ours["status"]
    assert flax["status"] == "not supported: has no cell 'rnn_relu'"
    assert ours["status"] in capsys.readouterr().out


def test_a_bad_grid_writes_nothing(tmp_path):
    with pytest.raises(UserError, match=r"config\.shapes"):
        run(_config(shapes="8"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@mock.patch.object(driver, "_measure_limits", _known_limits)
def test_a_cell_of_ones_own_is_measured_by_its_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(
        "import jax.numpy as jnp\nfrom rnnlab.cells import Cell\n"
        'PLAIN = Cell(name="plain", gates=("h",), combine=lambda params, state, a, r: (jnp.tanh(a + r),))\n'
    )
    monkeypatch.chdir(tmp_path)
    config = _config(cells="mine.py:PLAIN", shapes="2x4x4", implementations="rnnlab,flax.nnx", repeats=1)
    assert run(config, tmp_path / "w")
    rows = json.loads((tmp_path / "w" / "benchmark.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["ok", f"not supported: has no cell '{tmp_path}/mine.py:PLAIN'"]
    assert f"{tmp_path}/mine.py:PLAIN" in capsys.readouterr().out
