import csv
import gzip
import os
import pathlib

import numpy as np
import pytest

from rnnlab.config import join_names
from rnnlab.data.sequences.base import Scaler, read_split, read_stream
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config

_STEPS = "who,date,p,q,state\nann,2020-01-01,1,2,up\nann,2020-01-03,3,4,down\nbob,2020-01-02,5,6,up\n"
_WIDE = "label,t0,t1,t2\nx,1,2,3\ny,4,5,\nx,6,,\n"


def _read(folder, text: str, name: str = "tiny.csv", **fields):
    path = folder / name
    path.write_text(text, newline="")
    return read_split(data_config("csv", files__train=str(path), **fields), "train")


def test_rows_of_a_forecast_are_the_steps_of_one_sequence(tmp_path):
    examples = _read(tmp_path, "date,p,q\n2020-01-01,1,2\n2020-01-02,3,4\n", answer="forecast")
    assert examples.inputs[0].tolist() == [[1, 2], [3, 4]]
    assert (examples.answers, examples.dt, examples.names) == (None, None, ("p", "q"))
    assert "column 'date' has no numbers (line 2: '2020-01-01') and is ignored" in examples.remarks[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\n\n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace("ann", '"ann"').replace("p,", ' "p",').replace(' "', '"'),
        lambda text: "\n".join([*text.split("\n")[:2], *text.split("\n")[3:1:-1], *text.split("\n")[4:]]),
    ],
    ids=["windows", "byte-order mark", "blank lines", "open end", "TAB", "semicolon", "quotes", "rows between others"],
)
def test_rows_of_equal_sequence_names_are_one_sequence(tmp_path, change):
    columns = {"columns__sequence": "who", "columns__time": "date", "columns__answer": "state"}
    examples = _read(tmp_path, change(_STEPS), answer="class_per_step", **columns)
    assert [one.tolist() for one in examples.inputs] == [[[1, 2], [3, 4]], [[5, 6]]]
    assert examples.answers == [("up", "down"), ("up",)]
    assert [one.tolist() for one in examples.dt] == [[0, 2 * 24 * 3600], [0]]
    assert examples.places(0) == f"{tmp_path}/tiny.csv, line 2"


def test_a_sequence_of_rows_has_one_class_or_numbers(tmp_path):
    text = "id,v,w,label,y\n1,1,2,a,0.5\n1,3,4,a,0.5\n2,5,6,b,7\n"
    columns = {"columns__sequence": "id", "columns__inputs": "w,v"}
    examples = _read(tmp_path, text, columns__answer="label", **columns)
    assert examples.answers == ["a", "b"]
    assert examples.inputs[0].tolist() == [[2, 1], [4, 3]]
    numbers = _read(tmp_path, text, answer="numbers", columns__answer="y", **columns)
    assert [one.tolist() for one in numbers.answers] == [[0.5], [7]]
    with pytest.raises(UserError, match=r"line 3: the answer 'b' is not that of the sequence's first row, 'a'"):
        _read(tmp_path, text.replace("1,3,4,a", "1,3,4,b"), columns__answer="label", **columns)


def test_labels_of_a_step_are_columns_of_0_and_1(tmp_path):
    text = "v,low,high\n1,0,1\n2,1,1\n"
    fields = {"answer": "labels_per_step", "columns__answer": "low,high"}
    examples = _read(tmp_path, text, **fields)
    assert examples.answers[0].tolist() == [[False, True], [True, True]]
    assert examples.inputs[0].tolist() == [[1], [2]]
    with pytest.raises(UserError, match=r"line 3, column 'high': the answer is 2; it must be 0 or 1"):
        _read(tmp_path, text.replace("2,1,1", "2,1,2"), **fields)


def test_a_row_is_a_sequence_that_ends_where_its_cells_do(tmp_path):
    examples = _read(tmp_path, _WIDE)
    assert [one.tolist() for one in examples.inputs] == [[[1], [2], [3]], [[4], [5]], [[6]]]
    assert examples.answers == ["x", "y", "x"]
    assert examples.places(2).endswith("line 4")
    numbers = _read(tmp_path, "a,b,c,d\n1,2,3,4\n", answer="numbers", columns__answer="a,d")
    assert (numbers.answers[0].tolist(), numbers.inputs[0].tolist()) == ([1, 4], [[2], [3]])


def test_the_index_that_pandas_writes_is_left_out_with_a_remark(tmp_path):
    examples = _read(tmp_path, ",0,1,label\n0,5,6,x\n1,7,8,y\n")
    assert [one.ravel().tolist() for one in examples.inputs] == [[5, 6], [7, 8]]
    assert examples.remarks[0].endswith("columns without a name are ignored")


@pytest.mark.parametrize(
    ("line", "told", "fields"),
    [
        ("2020-01-01 00:00:00,4.9,2.9", "'2020-01-01 00:00:00' is a date", {"answer": "forecast"}),
        ("2020-01-01,a,b", "'2020-01-01' is a date", {"answer": "forecast"}),
        ("then,4.9,2.9", "'4.9' is a number", {"answer": "forecast"}),
        ("p0,1.8216,0.3", "'1.8216' is a number", {}),
        ("a,1,7", "'1' is a number", {"columns__answer": "a"}),
        ("p0,1,7", "'1' is a number", {"answer": "class_per_step", "columns__sequence": "patient"}),
    ],
)
def test_a_first_line_that_is_a_row_is_refused(tmp_path, line, told, fields):
    with pytest.raises(UserError, match=f"tiny.csv, line 1: {told}; the first line must have the names of the columns"):
        _read(tmp_path, f"{line}\n{line}\n", **fields)


def test_names_that_are_numbers_are_those_of_pandas_or_stand_in_the_config(tmp_path):
    assert _read(tmp_path, "date,0,1,OT\n2020-01-01,5,6,7\n", answer="forecast").names == ("0", "1", "OT")
    assert _read(tmp_path, "0,1,2\n5,6,x\n", columns__answer="2").inputs[0].tolist() == [[5], [6]]
    text = "label,1960,2020-01-01\nx,5,6\n"
    assert _read(tmp_path, text, columns__inputs="1960,2020-01-01").inputs[0].tolist() == [[5], [6]]
    with pytest.raises(UserError, match=r"line 1: '1960' is a number"):
        _read(tmp_path, text, columns__inputs="2020-01-01")


@pytest.mark.parametrize("cell", ["", "NA"])
def test_a_column_without_a_value_is_a_step_that_is_missing(tmp_path, cell):
    text = f"label,t0,t1,t2,t3\nx,1,{cell},3,\ny,4,{cell},6,\n"
    with pytest.raises(UserError, match=r"line 2, column 't1': a value is missing"):
        _read(tmp_path, text)
    examples = _read(tmp_path, text, missing="fill")
    np.testing.assert_array_equal(examples.inputs, [[[1], [np.nan], [3]], [[4], [np.nan], [6]]])
    first = _read(tmp_path, f"label,t0,t1\nx,{cell},2\n", missing="fill")
    np.testing.assert_array_equal(first.inputs, [[[np.nan], [2]]])
    noted = _read(tmp_path, "label,t0,note,t1\nx,1,some,2\n")
    assert noted.inputs[0].tolist() == [[1], [2]]
    assert "column 'note' has no numbers (line 2: 'some') and is ignored" in noted.remarks[0]


@pytest.mark.parametrize("cell", ["", "NaN", "NA", "?", " nan "])
def test_missing_values_are_refused_or_filled_and_counted(tmp_path, cell):
    text = f"v,w,label,id\n1,{cell},a,1\n{cell},4,a,1\n5,6,b,2\n"
    with pytest.raises(UserError, match=r"tiny.csv, line 2, column 'w': a value is missing; --config.*missing=fill"):
        _read(tmp_path, text, columns__sequence="id")
    examples = _read(tmp_path, text, columns__sequence="id", missing="fill")
    scaler = Scaler.learn(examples.inputs)
    assert scaler.mean.tolist() == [3, 5]  # of what is there
    assert scaler.fill(examples.inputs[0]).tolist() == [[1, 5], [1, 4]]
    assert scaler.apply(examples.inputs[0])[0, 1] == 0
    assert "2 missing values are filled" in examples.remarks[0]
    assert "1 of them, with none before" in examples.remarks[0]


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("", {}, "the file is empty"),
        ("label,v\n", {}, "a header and no rows"),
        ("1,2\n3,4\n", {}, "line 1: '1' is a number; the first line must have the names"),
        ("label,v,v\na,1,2\n", {}, "line 1: two columns are named 'v'"),
        ("label,v,w\na,1,2\na,3\n", {}, "line 3: 2 cells; the header has 3"),
        ("label,v,w\na,1,2\nb,3,x\n", {}, "line 3, column 'w': 'x' is not a"),
        ("label,v,w\na,1,2\nb,1_000,3\n", {}, "line 3, column 'v': '1_000' is not a"),
        ("label,v,w\na,1,2\nb,inf,3\n", {}, "line 3, column 'v': 'inf' is not a"),
        ("label,v,w\na,1,2\nb,1e300,3\n", {}, "line 3, column 'v': '1e300' is not a"),
        ('label,v\na,"1\n', {}, "line 2: not CSV"),
        ("label,v\na,x\n", {}, "line 1: none of the columns label, v has numbers"),
        ("label,v\n,1\n", {}, "line 2, column 'label': empty; every row needs an answer"),
        ("label,v\na,1\n?,1\n", {}, "line 3, column 'label': '\\?' is a missing value; every row needs an answer"),
        ("label,v\nNA,1\n", {"answer": "class_per_step"}, "line 2, column 'label': 'NA' is a missing value"),
        ("id,label,v\n1,nan,1\n", {"columns__sequence": "id"}, "line 2, column 'label': 'nan' is a missing value"),
        ("id,label,v\nNaN,a,1\n", {"columns__sequence": "id"}, "line 2, column 'id': 'NaN' is a missing value"),
        ("label,v,w\nb,1,2\na,,\n", {}, "line 3: a sequence without steps"),
        ("label,v,w\nb,1,2\na,,1\n", {}, "line 3, column 'v': a value is missing"),
        ("label,v\na,1\n", {"columns__inputs": "u"}, "line 1: config.data.columns.inputs names 'u'"),
        ("y,v\n?,1\n", {"answer": "numbers"}, "line 2, column 'y': the answer is missing"),
        (
            _STEPS,
            {"answer": "class_per_step", "columns__answer": "state", "columns__time": "who"},
            "line 2, column 'who'",
        ),
        (
            _STEPS.replace("2020-01-03", "2019-01-03"),
            {"answer": "forecast", "columns__time": "date"},
            "line 3, column 'date': '2019-01-03' is before the row before",
        ),
        ("label,v\na,\xe9\n".encode("latin-1"), {}, "line 2: not UTF-8"),
    ],
)
def test_bad_input_is_told_with_file_and_line(tmp_path, text, fields, message):
    path = tmp_path / "tiny.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=f"tiny.csv[,:] {message}") as error:
        read_split(data_config("csv", files__train=str(path), **fields), "train")
    assert "\n" not in str(error.value)


def test_a_column_has_one_role_and_the_answer_must_be_named(tmp_path):
    with pytest.raises(UserError, match=r"config.data.columns.inputs: 'label' has the role 'answer' already"):
        _read(tmp_path, _WIDE, columns__inputs="label")
    with pytest.raises(
        UserError,
        match=r"tiny.csv, line 1: config.data.columns.answer='' is not allowed .* the columns who, date, p, q, state",
    ):
        _read(tmp_path, _STEPS)


def test_several_files_are_read_as_one(tmp_path):
    names = []
    for name, text in {"a,b.csv": "label,v\nx,1\n", "c.csv.gz": "label,v\ny,2\nz,3\n"}.items():
        (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        names.append(str(tmp_path / name))
    examples = read_split(data_config("csv", files__test=names), "test")
    assert examples.answers == ["x", "y", "z"]
    assert [examples.places(i) for i in range(3)] == [
        f"{names[0]}, line 2",
        f"{names[1]}, line 2",
        f"{names[1]}, line 3",
    ]
    assert read_split(data_config("csv", files__test=names[0]), "test").answers == ["x"]
    (tmp_path / "d.csv").write_text("label,v\nx,1\n")
    both = f"{tmp_path}/d.csv, {names[1]}"
    assert read_split(data_config("csv", files__test=both), "test").answers == ["x", "y", "z"]


def test_files_whose_columns_have_another_order_are_not_joined(tmp_path):
    for name, header in {"a": "label,t0,t1,t2", "b": "label,t0,t1", "c": "label,t0,t2,t1"}.items():
        (tmp_path / f"{name}.csv").write_text(f"{header}\nx,1,2" + (",3\n" if header.count(",") == 3 else "\n"))

    def read(*names, **fields):
        return read_split(
            data_config("csv", files__train=",".join(f"{tmp_path}/{name}.csv" for name in names), **fields), "train"
        )

    for names in (("a", "b"), ("b", "a")):
        assert read(*names).steps == ("t0", "t1", "t2")
    for names in (("a", "c"), ("b", "a", "c")):
        with pytest.raises(
            UserError, match=r"c.csv, line 2: its steps are other columns than those of .*a.csv, line 2"
        ):
            read(*names)
    features = read("a", "c", answer="class_per_step")  # whose features are matched by name
    assert [one.tolist() for one in features.inputs] == [[[1, 2, 3]], [[1, 3, 2]]]
    with pytest.raises(UserError, match=r"b.csv, line 2: its features are t0, t1; .*a.csv, line 2 are t0, t1, t2"):
        read("a", "b", answer="class_per_step")


def test_parquet_is_read_as_the_same_table_in_csv(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"label": [3, 4], "a": [0.1, None], "b": pyarrow.array([5, 6], "int8"), "note": ["p", None]})
    parquet.write_table(table, tmp_path / "t.parquet")
    from_parquet = read_split(data_config("csv", files__train=f"{tmp_path}/t.parquet", missing="fill"), "train")
    from_csv = _read(tmp_path, "label,a,b,note\n3,0.1,5,p\n4,,6,\n", missing="fill")
    for one, other in zip(from_parquet.inputs, from_csv.inputs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert from_parquet.answers == from_csv.answers == ["3", "4"]
    assert from_parquet.places(1).endswith("t.parquet, row 2")


def test_what_python_has_no_type_for_is_read_as_text_where_a_role_needs_it(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {
        "label": [3, 4],
        "a": [1, 2],
        "nanoseconds": pyarrow.array([1, 2], pyarrow.timestamp("ns")),
        "year": pyarrow.array([600_000_000_000] * 2, pyarrow.timestamp("s")),
    }
    parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
    config = {"files__train": f"{tmp_path}/t.parquet"}
    assert [one.tolist() for one in read_split(data_config("csv", **config), "train").inputs] == [[[1]], [[2]]]
    with pytest.raises(UserError, match=r"row 1, column 'nanoseconds': '1970-01-01 .*0001' is not a"):
        read_split(data_config("csv", columns__inputs="a,nanoseconds", **config), "train")


def test_small_changes_of_large_numbers_are_not_lost(tmp_path):
    rows = [f"s,{1_700_000_000 + 3 * i},{1e8 + 0.25 * i},up" for i in range(4)]
    columns = {"columns__sequence": "who", "columns__time": "when", "columns__answer": "state"}
    examples = _read(tmp_path, "\n".join(["who,when,x,state", *rows]), answer="class_per_step", **columns)
    assert examples.dt[0].tolist() == [0, 3, 3, 3]
    scaled = Scaler.learn(examples.inputs).apply(examples.inputs[0])[:, 0]
    np.testing.assert_allclose(scaled, (np.arange(4) - 1.5) / np.std(np.arange(4)), rtol=1e-6)


def test_names_in_quotes_may_hold_commas(tmp_path):
    text = '"load, MW",a,"say ""x""",label\n1,2,3,u\n4,5,6,v\n'
    examples = _read(tmp_path, text, columns__inputs=join_names(['say "x"', "load, MW"]), answer="class_per_step")
    assert examples.inputs[0].tolist() == [[3, 1], [6, 4]]


def test_a_stream_for_prediction_may_lack_its_answers():
    config = data_config("csv")
    for text in (_WIDE, "t0,t1,t2\n1,2,3\n4,5,\n6,,\n"):
        examples = read_stream(config, text.encode(), "standard input")
        assert [len(one) for one in examples.inputs] == [3, 2, 1]
        assert examples.answers is None


@pytest.mark.skipif("RNNLAB_DATA" not in os.environ, reason="RNNLAB_DATA names no folder")
def test_etth1_is_read_as_the_csv_module_reads_it():
    path = pathlib.Path(os.environ["RNNLAB_DATA"]) / "ett" / "ETTh1.csv.gz"
    examples = read_split(data_config("csv", files__train=str(path), answer="forecast", columns__time="date"), "train")
    with gzip.open(path, "rt", newline="") as file:
        header, *rows = csv.reader(file)
    assert examples.names == tuple(header[1:])
    np.testing.assert_array_equal(examples.inputs[0], np.array([row[1:] for row in rows], float))
    assert set(examples.dt[0][1:].tolist()) == {3600}
