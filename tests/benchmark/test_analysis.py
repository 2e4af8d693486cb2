import matplotlib.figure
import pytest

from rnnlab.benchmark.analysis import add_comparisons, by_length, crossings, exponent, ratios
from rnnlab.benchmark.plots import draw_pictures
from rnnlab.benchmark.report import summary


def _row(name, length, best, spread=0.01, cell="lstm"):
    case = {"cell": cell, "batch": 1, "length": length, "hidden": 8, "dtype": "float32", "pass": "training"}
    return {"implementation": name, **case, "status": "ok", "best_ms": best, "spread": spread}


def test_the_exponent_of_a_power_law_is_its_power():
    rows = [_row("rnnlab", n, 3.0 * n**1.5) for n in (16, 64, 1024)]
    assert exponent(rows) == pytest.approx(1.5)


def test_two_lines_cross_where_they_are_equal():
    """10 n and n^2 / 10 are equal at n = 100, which interpolation between powers finds exactly."""
    rows = [_row("a", n, 10.0 * n) for n in (10, 1000)] + [_row("b", n, n * n / 10) for n in (10, 1000)]
    ((winner, loser, length),) = crossings(next(iter(by_length(rows).values())))
    assert (winner, loser) == ("a", "b")
    assert length == pytest.approx(100)


def test_the_products_alone_neither_rank_nor_cross():
    rows = add_comparisons([_row("products", 8, 1.0), _row("rnnlab", 8, 1.001), _row("torch", 8, 2.0)])
    assert [row["rank_unsafe"] for row in rows] == [False, False, False]
    assert rows[1]["best_peer_ratio"] == pytest.approx(2.0 / 1.001)


@pytest.mark.parametrize(("spread", "unsafe"), [(0.01, False), (0.2, True)])
def test_a_rank_is_unsafe_where_the_gap_is_within_the_spread(spread, unsafe):
    rows = add_comparisons([_row("rnnlab", 8, 1.0), _row("torch", 8, 1.1, spread), _row("flax.nnx", 8, 5.0)])
    assert [row["rank_unsafe"] for row in rows] == [unsafe, unsafe, False]


def test_ratios_are_of_the_cases_that_both_have():
    rows = [_row("rnnlab", 8, 2.0), _row("torch", 8, 3.0), _row("rnnlab", 16, 1.0)]
    rows.append({"implementation": "torch", "status": "failed", **{k: rows[-1][k] for k in list(rows[-1])[1:7]}})
    assert list(ratios(rows, "torch", "rnnlab").values()) == [1.5]


def test_the_geometric_mean_of_a_number_and_its_inverse_is_one():
    cases = [(8, 4.0), (16, 0.25)]
    rows = [row for n, time in cases for row in add_comparisons([_row("rnnlab", n, 1.0), _row("torch", n, time)])]
    assert "torch / rnnlab: geometric mean 1.00, 0.25 to 4.00, 2 cases" in summary(rows, {}).splitlines()


def test_pictures_of_a_structured_cell_lie_in_the_folder_itself(tmp_path):
    rows = add_comparisons([_row("rnnlab", n, 1.0 * n, cell="lstm/diagonal") for n in (8, 16)])
    paths = draw_pictures(tmp_path, rows)
    assert [path.name for path in paths] == ["time_lstm-diagonal_1_8_float32_training.png"]
    assert sorted(tmp_path.iterdir()) == paths


def test_a_picture_that_fails_is_left_out(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", fail)
    rows = add_comparisons([_row("rnnlab", n, 1.0 * n, cell="lstm/diagonal") for n in (8, 16)])
    assert draw_pictures(tmp_path, rows) == []
