"""Line-aligned texts: two files, plain or compressed, or one TSV with two columns. They are read at each start; no copy
is prepared. They stay in memory as bytes, since texts take many times as much."""

import codecs
import functools
import hashlib
import pathlib
from collections.abc import Iterator

from rnnlab.data.file_names import Files, list_names
from rnnlab.data.packed import read_packed, unpack
from rnnlab.errors import UserError

Pair = tuple[str, str]
_BLOCK = 1 << 20  # bytes decoded at a time


class Lines:
    """The lines of a UTF-8 file, plain or compressed with gzip, bzip2, xz or zstd, without the white space at their
    ends.

    Lines end with LF or CR LF, or, in a file that has neither, with CR. Byte-order marks are dropped everywhere:
    concatenated files have them in the middle, too. The file is read immediately, but checked when its lines are first
    counted or iterated over.

    Raises:
      UserError: no such file, not of the format of its ending, not UTF-8 (with the line), or empty.
    """

    def __init__(self, path: str):
        self._path = path
        self._packed = read_packed(path)
        self.digest = hashlib.sha256(self._packed).hexdigest()

    def __len__(self) -> int:
        text, end = self._text
        return text.count(end) + 1

    def __iter__(self) -> Iterator[str]:
        (text, end), start = self._text, 0
        while start <= len(text):
            stop = text.find(end, start + _BLOCK)
            stop = len(text) if stop < 0 else stop
            for line in text[start:stop].decode().split(end.decode()):
                yield line.strip()
            start = stop + 1

    @functools.cached_property
    def _text(self) -> tuple[bytes, bytes]:
        """The whole file, checked to be UTF-8, and its line ending."""
        path = self._path
        raw = unpack(path, self._packed).replace(codecs.BOM_UTF8, b"")
        self._packed = b""
        if not (inner := raw.strip()):
            raise UserError(f"{path}: the file is empty; at least one line of text is needed")
        end = b"\r" if b"\r" in inner and b"\n" not in inner else b"\n"
        text = raw.removesuffix(b"\n").removesuffix(b"\r")
        try:
            text.decode()
        except UnicodeDecodeError as error:
            before = raw[: error.start].split(end)
            raise UserError(f"{path}, line {len(before)}: not UTF-8 (byte {len(before[-1])}: {error.reason})") from None
        return text, end


class ParallelText:
    """Source and target of each line; may be iterated over repeatedly.

    Args:
      files: "source,target", one "pairs.tsv", or a list of these names.
      directory: as in `list_names`.

    Raises:
      UserError: as `list_names`, or files that are neither; during iteration, as `Lines`, unequal line counts, a TSV
        line without exactly two columns, or an empty side.
    """

    def __init__(self, files: Files, directory: str = ""):
        self.names = list_names(files, directory)
        if len(self.names) not in (1, 2):
            raise UserError(f"files {files!r}: give two files as 'source,target' or one TSV")
        self._sides = [Lines(name) for name in self.names]

    @property
    def digests(self) -> list[str]:
        """Returns the ending and the SHA-256 of the bytes of each file: if these are equal, so are the pairs."""
        return [pathlib.PurePath(name).suffix + side.digest for name, side in zip(self.names, self._sides, strict=True)]

    def __iter__(self) -> Iterator[Pair]:
        for number, pair in enumerate(self._pairs(), start=1):
            if not all(pair):
                raise UserError(
                    f"{' / '.join(self.names)}, line {number}: one side is empty; remove the line from both"
                )
            yield pair

    def _pairs(self) -> Iterator[Pair]:
        if len(self._sides) == 1:
            return (_columns(self.names[0], number, line) for number, line in enumerate(self._sides[0], start=1))
        source, target = self._sides
        if len(source) != len(target):
            raise UserError(
                f"{self.names[0]} has {len(source)} lines and {self.names[1]} has {len(target)}; "
                "line i of one must translate line i of the other"
            )
        return zip(source, target, strict=True)


def _columns(path: str, number: int, line: str) -> Pair:
    columns = line.split("\t")
    if len(columns) != 2:
        raise UserError(f"{path}, line {number}: {len(columns) - 1} TABs; a source, one TAB and a target are needed")
    return columns[0].strip(), columns[1].strip()
