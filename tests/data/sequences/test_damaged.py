"""Whatever is done to a file, it is read or refused in one line. Not so a .mat, of which a damaged one may end the
process within SciPy."""

import io
import struct

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnlab.data.sequences.base import READERS, held_out, read_stream
from rnnlab.data.sequences.examples import Request, make_source
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.arange(24.0).reshape(2, 4, 3), y=np.arange(2), lengths=np.array([2, 4]))
    return stream.getvalue()


def _parquet() -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"label": ["a", "b"], "v": [1.5, None]}), stream)
    return stream.getvalue()


_LABELS = b"\0\0\x08\x01\0\0\0\x02\1\2"
_FILES = {
    "ts": ({}, b"@problemName x\n@dimensions 2\n@classLabel true a b\n@data\n1,2,3:4,5,?:a\n1:2:b\n"),
    "ts with times": ({"name": "ts"}, b"@timestamps true\n@classLabel true a\n@data\n(1,2),(2,3):(1,4),(2,5):a\n"),
    "csv": ({"columns__sequence": "id", "columns__time": "t"}, b"id,t,v,label\n1,2020-01-01,2.5,x\n2,2020-01-02,?,y\n"),
    "csv of sequences": ({"name": "csv"}, b'label;v0;v1\n"a";1;2\nb;3;\n'),
    "parquet": ({"name": "csv"}, _parquet()),
    "npz": ({}, _npz()),
    "idx": ({}, b"\0\0\x08\x03" + struct.pack(">3I", 2, 2, 2) + bytes(8)),
    "labelled_text": ({}, "a\tgrüße\nb\ttext\n".encode()),
    "tagged": ({"answer": "class_per_step"}, b"one\tB-a\ntwo\tI-a\n\nthree\tO\n"),
}


@pytest.mark.parametrize("kind", _FILES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
@pytest.mark.filterwarnings("default")  # of libraries, on damaged files
def test_a_damaged_file_is_read_or_refused_in_one_line(kind, data):
    fields, content = _FILES[kind]
    config = data_config(**{"name": kind, "missing": "fill", **fields})
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 8)))
    put = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"\n", b"\t", b",", b":", b"-", b"1", b'"'])))
    damaged = content[:start] + put + content[stop:]
    message = ""
    try:
        source = make_source("here", damaged)
        sources = [source, make_source("labels", _LABELS)] if kind == "idx" else [source]
        examples = READERS[config.name].read(Request(config), sources)
        assert len(examples.inputs) == len(examples.answers)
        assert all(examples.places(i) for i in range(len(examples.inputs)))
        held_out(examples, 0.5)
        read_stream(config, damaged, "here")
    except UserError as error:
        message = str(error)
    assert "\n" not in message
