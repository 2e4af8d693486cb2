"""Files that are plain or compressed with gzip, bzip2, xz or zstd."""

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
            raise OSError("it is compressed with zstd; pip install backports.zstd") from None
    try:
        return zstd.decompress(raw)
    except zstd.ZstdError as error:
        raise OSError(error) from None


# By file ending: the first bytes (RFC 1952 and 8878, the formats of bzip2, full and empty, and xz), and the function
# that decompresses.
_PACKED: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    ".gz": (rb"\x1f\x8b", gzip.decompress),
    ".bz2": (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", bz2.decompress),
    ".xz": (rb"\xfd7zXZ\0", lzma.decompress),
    ".zst": (rb"\x28\xb5\x2f\xfd", _unpack_zstd),
}


def read_packed(path: str) -> bytes:
    """Reads a file, decompressed if necessary.

    Raises:
      UserError: no such file, or one that cannot be read.
    """
    try:
        return pathlib.Path(path).expanduser().read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def unpack(path: str, raw: bytes) -> bytes:
    """Decompresses `raw` by its first bytes, whatever its name, or else by its ending, to detect a damaged start.

    Raises:
      UserError: damaged, or not of the format of its ending.
    """
    named = _PACKED.get(pathlib.PurePath(path).suffix, (b"", bytes))
    _, unpack_kind = next((kind for kind in _PACKED.values() if re.match(kind[0], raw)), named)
    try:
        return unpack_kind(raw)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
