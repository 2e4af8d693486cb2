"""The programs, parameters and vocabularies of an exported model; needs only jax and numpy."""

import functools
import json
import pathlib
import unicodedata

import jax
import numpy as np
from jax import export

FOLDER = pathlib.Path(__file__).parent
PAD, BOS, EOS, UNK = range(4)
TYPES = {"F32": np.float32, "F64": np.float64, "BF16": jax.numpy.bfloat16, "I32": np.int32, "U32": np.uint32}
SPLIT = {"character": list, "byte": lambda text: text.encode("utf-8", "surrogateescape").decode("latin-1")}


def read(name):
    """Reads a JSON file of the folder."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@functools.cache
def params():
    """Reads the parameters by name. The file consists of a length, a JSON header and the bytes of the arrays."""
    data = (FOLDER / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    found = {}
    for name, array in header.items():
        values = np.frombuffer(data[slice(*(start + at for at in array["data_offsets"]))], TYPES[array["dtype"]])
        found[name] = values.reshape(array["shape"])
    return jax.device_put(found)


@functools.cache
def program(name):
    """Loads a program: a function of its arguments, compiled once for each of their shapes."""
    exported = export.deserialize(bytearray((FOLDER / f"{name}.stablehlo").read_bytes()))
    return functools.partial(jax.jit(exported.call), params())


def padded(sequences, steps, columns):
    """Joins arrays `[at most steps, ...]` into one `[steps, columns, ...]`, 0 where they are shorter or missing."""
    found = np.zeros((steps, columns, *sequences[0].shape[1:]), sequences[0].dtype)
    for column, own in enumerate(sequences):
        found[: len(own), column] = own
    return found


def standardise(rows, about):
    """Standardises numbers `[steps, features]`; missing ones (NaN) have the last one before them, or else the mean."""
    last = np.maximum.accumulate(np.where(np.isnan(rows), -1, np.arange(len(rows))[:, None]))
    filled = np.where(last < 0, about["fill"], np.take_along_axis(rows, np.maximum(last, 0), axis=0))
    return ((filled - about["mean"]) / about["deviation"]).astype(np.float32)


class Vocabulary:
    """Converts between texts and ids. Units whose rules need a library (word, spacy, subword) are read and written as
    tokens separated by blanks."""

    def __init__(self, name):
        self.about = read(name)
        self.tokens = self.about["tokens"]
        self.ids = {token: number for number, token in enumerate(self.tokens) if number > UNK}
        self.order = -1 if self.about.get("reverse") else 1
        self.exact = self.about["unit"] in SPLIT  # whether tokens keep blanks and line breaks

    def encode(self, text):
        """Returns the ids of a text."""
        form = self.about["normal_form"]
        text = unicodedata.normalize(form, text) if form else text
        if self.about["lowercase"]:
            text = unicodedata.normalize(form, text.lower()) if form else text.lower()
        split = SPLIT.get(self.about["unit"], lambda text: text.split(" ") if text else [])
        return np.array([self.ids.get(token, UNK) for token in split(text)], np.int32)[:: self.order]

    def decode(self, ids):
        """Returns the text of ids, without PAD, BOS and EOS."""
        tokens = [self.tokens[number] for number in ids if number not in (PAD, BOS, EOS)][:: self.order]
        text = ("" if self.exact else " ").join(tokens)
        return text.encode("latin-1").decode("utf-8", "replace") if self.about["unit"] == "byte" else text
