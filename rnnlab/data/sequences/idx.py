"""The idx files of MNIST (LeCun, Cortes and Burges): "images,labels", each image a sequence of its pixels, row by row,
divided by 255."""

import math
import struct
from typing import Any

import numpy as np

from rnnlab.data.sequences.examples import Examples, Request, Source, check_finite, check_missing
from rnnlab.errors import UserError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(request: Request, sources: list[Source]) -> Examples:
    """Reads images and labels; for prediction only images.

    Raises:
      UserError: not two files, a file that is not of this format or incomplete, different numbers of images and labels,
        a number that is missing (if those are refused), infinite or too large, a missing label.
    """
    if len(sources) != 2 and request.answered:
        raise UserError(
            f"config.data.files.{request.split}: idx needs two files, 'images,labels'; it names {len(sources)}"
        )
    images = _read_array(sources[0])
    name = sources[0].name
    if images.ndim < 2 or not images.size:
        raise UserError(f"{name}: an array of sizes {images.shape}; images are needed")
    flat = images.reshape(len(images), -1, 1)
    pixels: np.ndarray = flat / np.float32(255) if flat.dtype == np.uint8 else flat.astype(np.float64)

    def where(i: int, pixel: int, _: int) -> str:
        return f"{name}, image {i + 1}, pixel {pixel + 1}"

    check_finite(pixels, where)
    answers = None
    if request.answered:
        labels = _read_array(sources[1])
        if labels.shape != (len(images),):
            raise UserError(
                f"{sources[1].name}: an array of sizes {labels.shape}; a label is needed for each of the "
                f"{len(images)} images"
            )
        if (none := labels != labels).any():
            raise UserError(f"{sources[1].name}, label {int(np.argmax(none)) + 1}: NaN; every image needs its label")
        answers = [str(label) for label in labels.tolist()]
    remarks = check_missing(request, name, list(pixels), where)
    return Examples(list(pixels), answers, None, places=lambda i: f"{name}, image {i + 1}", remarks=remarks)


def _read_array(source: Source) -> np.ndarray:
    content = source.content
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise UserError(f"{source.name}: not an idx file, which starts with two zero bytes and the number of a type")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise UserError(f"{source.name}: the file ends within its header")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    dtype: Any = np.dtype(_TYPES[content[2]])
    if len(content) != header + math.prod(shape) * dtype.itemsize:
        raise UserError(
            f"{source.name}: {len(content) - header:,} bytes of data; its header, of sizes {shape}, needs "
            f"{math.prod(shape) * dtype.itemsize:,}"
        )
    return np.frombuffer(content, dtype, offset=header).reshape(shape)
