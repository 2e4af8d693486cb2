"""Files that are plain or packed by gzip, bzip2, xz or zstd."""

import bz2
import gzip
import lzma
import pathlib
import re
import zlib
from collections.abc import Callable

from rnnlab.errors import UserError


def _unpack_zstd(raw: bytes) -> bytes:
    try:
        from compression import zstd  # of Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise OSError("it is packed by zstd; pip install backports.zstd") from None
    try:
        return zstd.decompress(raw)
    except zstd.ZstdError as error:
        raise OSError(error) from None


# By their endings: how such files start (RFC 1952 and 8878, the formats of bzip2, full and empty, and xz), and what
# unpacks them.
_PACKED: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    ".gz": (rb"\x1f\x8b", gzip.decompress),
    ".bz2": (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", bz2.decompress),
    ".xz": (rb"\xfd7zXZ\0", lzma.decompress),
    ".zst": (rb"\x28\xb5\x2f\xfd", _unpack_zstd),
}


def read_packed(path: str) -> bytes:
    """Reads a file as it is, packed or not.

    Raises:
      UserError: no such file, or one that cannot be read.
    """
    try:
        return pathlib.Path(path).expanduser().read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def unpack(path: str, raw: bytes) -> bytes:
    """Unpacks `raw` by how it starts, whatever its name, or else by its ending, so that a damaged start is noticed.

    Raises:
      UserError: damaged, or not what its ending says.
    """
    named = _PACKED.get(pathlib.PurePath(path).suffix, (b"", bytes))
    _, unpack_kind = next((kind for kind in _PACKED.values() if re.match(kind[0], raw)), named)
    try:
        return unpack_kind(raw)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
