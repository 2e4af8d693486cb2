import csv
import io
import json
import math

import jax.numpy as jnp
import pytest

from rnnlab.printing import show, to_csv, to_json


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_whatever_an_encoding_lacks_is_escaped_and_all_else_stands(encoding):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    text = "".join(map(chr, range(32, 0x2FF))) + "日本\u202e\ud800👩 e\u0301"
    show(text, file=file)
    shown = raw.getvalue().decode(encoding)
    escaped = (c if _has(encoding, c) else c.encode("ascii", "backslashreplace").decode() for c in text)
    assert shown == "".join(escaped) + "\n"


def _has(encoding: str, character: str) -> bool:
    try:
        return bool(character.encode(encoding))
    except UnicodeEncodeError:
        return False


def test_a_line_goes_to_stdout_as_it_is_now_and_nowhere_if_that_is_closed(capsys, monkeypatch):
    show("é")
    assert capsys.readouterr().out == "é\n"
    monkeypatch.setattr("sys.stdout", None)
    show("é")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_has_no_number_that_json_does_not_know(number):
    values = {
        "a": number,
        "b": [1.5, (number, {"c": number})],
        "d": jnp.array([number, 2.0]).tolist(),
        "e": "NaN",
        "f": 3,
    }
    text = to_json(values)
    found = json.loads(text, parse_constant=pytest.fail)
    assert found == {"a": None, "b": [1.5, [None, {"c": None}]], "d": [None, 2.0], "e": "NaN", "f": 3}
    assert "\n" not in text
    assert json.loads(to_json(values, indent=1)) == found


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_back_whatever_is_in_a_cell(end):
    rows = [["a", "b,c", 'd"e', "é日本"], [1, -0.1 + 0.3, "two\nlines", None], ["", " x ", math.inf, True]]
    text = to_csv(iter(rows), end=end)
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["" if cell is None else str(cell) for cell in row] for row in rows
    ]
    assert text.endswith(end)
    assert to_csv([["a", 1.5, None]], end=end) == f"a,1.5,{end}"
