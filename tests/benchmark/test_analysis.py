import matplotlib.figure
import pytest

from rnnlab.benchmark.analysis import CASE, add_comparisons, best_of_ours, by_axis, crossings, exponent, ratios
from rnnlab.benchmark.plots import draw_pictures
from rnnlab.benchmark.report import summary, table


def _row(name, length, best, spread=0.01, cell="lstm", **others):
    case = {"cell": cell, "batch": 1, "length": length, "hidden": 8, "layers": 1, "lengths": "equal"}
    case |= {"dtype": "float32", "pass": "training"} | others
    return {"implementation": name, **case, "status": "ok", "best_ms": best, "spread": spread}


def test_the_exponent_of_a_power_law_is_its_power():
    rows = [_row("rnnlab", n, 3.0 * n**1.5) for n in (16, 64, 1024)]
    assert exponent(rows, "length") == pytest.approx(1.5)


def test_growth_is_fitted_along_each_size_that_varies_alone():
    """Time proportional to batch^0.5 and hidden^2; the row that differs in both belongs to no line."""
    sizes = [(1, 8), (4, 8), (16, 8), (1, 16), (9, 99)]
    rows = [_row("rnnlab", 5, b**0.5 * h**2, batch=b, hidden=h) for b, h in sizes]
    lines = summary(add_comparisons(rows), {}).splitlines()
    assert lines == [
        "lstm, T 5, H 8, float32, training: time rnnlab B^0.50",
        "lstm, B 1, T 5, float32, training: time rnnlab H^2.00",
    ]


def test_two_lines_cross_where_they_are_equal():
    """10 n and n^2 / 10 are equal at n = 100, which interpolation between powers finds exactly."""
    rows = [_row("a", n, 10.0 * n) for n in (10, 1000)] + [_row("b", n, n * n / 10) for n in (10, 1000)]
    ((winner, loser, length),) = crossings(by_axis(rows, "length")[0][1], "length")
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
    rows.append({"implementation": "torch", "status": "failed", **{name: rows[-1][name] for name in CASE}})
    assert list(ratios(rows, "torch", "rnnlab").values()) == [1.5]


def test_the_geometric_mean_of_a_number_and_its_inverse_is_one():
    cases = [(8, 4.0), (16, 0.25)]
    rows = [row for n, time in cases for row in add_comparisons([_row("rnnlab", n, 1.0), _row("torch", n, time)])]
    assert "torch / rnnlab: geometric mean 1.00, 0.25 to 4.00, 2 cases" in summary(rows, {}).splitlines()


def test_pictures_of_a_structured_cell_lie_in_the_folder_itself(tmp_path):
    rows = add_comparisons([_row("rnnlab", n, 1.0 * n, cell="lstm/diagonal") for n in (8, 16)])
    paths = draw_pictures(tmp_path, rows)
    assert [path.name for path in paths] == ["time_lstm-diagonal_B1_H8_float32_training.png"]
    assert sorted(tmp_path.iterdir()) == paths


def test_a_picture_that_fails_is_left_out(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", fail)
    rows = add_comparisons([_row("rnnlab", n, 1.0 * n, cell="lstm/diagonal") for n in (8, 16)])
    assert draw_pictures(tmp_path, rows) == []


def test_the_table_names_the_best_peer_of_each_case_and_marks_what_noise_hides():
    near = [_row("rnnlab", 8, 1.0), _row("torch", 8, 1.1, 0.2), _row("haiku", 8, 9.0)]
    far = [
        _row("rnnlab", 16, 2.0),
        _row("torch", 16, 9.0),
        _row("haiku", 16, 3.0),
        {**_row("flax", 16, 0), "status": "died"},
    ]
    del far[-1]["best_ms"]
    lines = [line.split() for line in table(add_comparisons(near) + add_comparisons(far)).splitlines()]
    assert lines[1][:4] == ["cell", "B", "T", "H"]  # neither layers nor lengths, which are as usual in all rows
    assert [line[-4:] for line in lines[2:4]] == [["torch", "/", "rnnlab", "1.10~"], ["haiku", "/", "rnnlab", "1.50"]]
    assert " ".join(lines[4]) == "flax, lstm: died"


def test_unequal_lengths_are_compared_with_the_best_way_of_ours():
    times = {"rnnlab": 9.0, "rnnlab/packed": 3.0, "rnnlab/buckets": 4.0, "torch": 6.0, "torch/buckets": 4.5}
    rows = [
        row for n in (8, 16) for row in add_comparisons([_row(name, n, t, lengths="text") for name, t in times.items()])
    ]
    assert best_of_ours(rows) == "rnnlab/packed"
    lines = summary(rows, {}).splitlines()
    assert "torch / rnnlab/packed: geometric mean 2.00, 2.00 to 2.00, 2 cases" in lines
    assert "best peer / rnnlab/packed: geometric mean 1.50, 1.50 to 1.50" in lines


def test_several_ways_of_ours_are_compared_by_the_fastest_of_each_case():
    times = {
        8: {"rnnlab": 2.0, "rnnlab/cores": 1.0, "torch": 3.0},
        16: {"rnnlab": 1.0, "rnnlab/cores": 4.0, "torch": 3.0},
    }
    alone = {"rnnlab": 2.0, "torch": 2.0}
    rows = [
        row
        for n, own in (times | {32: alone}).items()
        for row in add_comparisons([_row(name, n, time) for name, time in own.items()])
    ]
    lines = summary(rows, {}).splitlines()
    assert "torch / rnnlab: geometric mean 1.65, 1.00 to 3.00, 3 cases" in lines
    assert "torch / fastest of ours: geometric mean 2.08, 1.00 to 3.00, 3 cases" in lines
    assert "best peer / fastest of ours: geometric mean 2.08, 1.00 to 3.00" in lines
