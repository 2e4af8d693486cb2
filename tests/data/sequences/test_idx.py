import gzip
import os
import pathlib
import struct

import numpy as np
import pytest

from rnnlab.data.sequences.base import read_split, read_stream
from rnnlab.errors import UserError
from tests.data.sequences.config import data_config

_CODES = {"u1": b"\x08", "f4": b"\x0d", "f8": b"\x0e"}


def _idx(array: np.ndarray) -> bytes:
    sizes = bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return b"\0\0" + _CODES[array.dtype.str[1:]] + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


_IMAGES = np.arange(5 * 2 * 4, dtype=np.uint8).reshape(5, 2, 4)
_LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


def _write(folder, images: bytes, labels: bytes) -> str:
    (folder / "images.gz").write_bytes(gzip.compress(images))
    (folder / "labels").write_bytes(labels)
    return f"{folder}/images.gz,{folder}/labels"


def test_an_image_is_the_sequence_of_its_pixels(tmp_path):
    names = _write(tmp_path, _idx(_IMAGES), _idx(_LABELS))
    examples = read_split(data_config("idx", files__train=names), "train")
    assert examples.answers == ["3", "1", "4", "1", "5"]
    assert examples.inputs[2].shape == (8, 1)
    np.testing.assert_allclose(examples.inputs[2][:, 0], _IMAGES[2].ravel() / 255, rtol=1e-7)
    assert read_stream(data_config("idx"), _idx(_IMAGES), "standard input").inputs[2].tolist() == (
        examples.inputs[2].tolist()
    )


def _images(value: float) -> np.ndarray:
    images = _IMAGES.astype(np.float64)
    images[3, 1, 0] = value
    return images


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (_idx(_images(np.nan)), _idx(_LABELS), "images.gz, image 4, pixel 5: a value is missing; .*missing=fill"),
        (_idx(_images(np.inf)), _idx(_LABELS), "images.gz, image 4, pixel 5: inf is not finite, or too large"),
        (_idx(_images(1e300)), _idx(_LABELS), "images.gz, image 4, pixel 5: 1e\\+300 is not finite, or too large"),
        (_idx(_IMAGES), _idx(np.array([0, 1, np.nan, 1, 0], np.float32)), "labels, label 3: NaN; every image needs"),
        (b"GIF8", _idx(_LABELS), "images.gz: not an idx file"),
        (_idx(_IMAGES)[:-1], _idx(_LABELS), "images.gz: 39 bytes of data"),
        (_idx(_IMAGES)[:7], _idx(_LABELS), "images.gz: the file ends within its header"),
        (
            _idx(_IMAGES),
            _idx(_LABELS[:4]),
            "labels: an array of sizes .*; a label is needed for each of the 5",
        ),
        (_idx(_LABELS), _idx(_LABELS), "images.gz: an array of sizes \\(5,\\); images are needed"),
    ],
)
def test_bad_input_is_told_with_its_file(tmp_path, images, labels, message):
    with pytest.raises(UserError, match=message):
        read_split(data_config("idx", files__train=_write(tmp_path, images, labels)), "train")


def test_images_without_labels_are_refused(tmp_path):
    names = _write(tmp_path, _idx(_IMAGES), _idx(_LABELS)).split(",")[0]
    with pytest.raises(UserError, match=r"config.data.files.train: idx needs two files"):
        read_split(data_config("idx", files__train=names), "train")


@pytest.mark.skipif("RNNLAB_DATA" not in os.environ, reason="RNNLAB_DATA names no folder")
def test_mnist_is_whole():
    folder = pathlib.Path(os.environ["RNNLAB_DATA"]) / "mnist"
    names = [str(folder / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")]
    examples = read_split(data_config("idx", files__test=names), "test")
    assert len(examples.inputs) == 10_000
    assert examples.answers[:5] == ["7", "2", "1", "0", "4"]
    raw = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    assert np.float32(sum(raw[: 100 * 784]) / 255) == pytest.approx(
        sum(x.sum() for x in examples.inputs[:100]), rel=1e-5
    )
