"""Atomic writes of files, and folders locked by one process."""

import contextlib
import fcntl
import functools
import logging
import os
import pathlib
from collections.abc import Iterator

from rnnlab.errors import UserError


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file atomically, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Writes a file atomically."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def undamaged(path: pathlib.Path) -> Iterator[None]:
    """Turns an error while reading or parsing a file into a UserError.

    Raises:
      UserError: names the file and the failure.
    """
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: is damaged: {error}") from None


def user_cache(name: str) -> pathlib.Path:
    """Returns the folder `name` of rnnlab in the user's cache: in `XDG_CACHE_HOME`, by default ~/.cache."""
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return home / "rnnlab" / name


@contextlib.contextmanager
def alone_in(folder: pathlib.Path) -> Iterator[None]:
    """Locks a folder for this process, until the process ends.

    The folder is created if it is missing, and removed again if it stays empty.

    Raises:
      UserError: another process has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "lock"
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is training in it; give another --workdir, or wait") from None
        except OSError:  # a file system without locks
            pass
        try:
            yield
        finally:
            if [path.name for path in folder.iterdir()] == [lock.name]:
                lock.unlink()
                folder.rmdir()


def in_use(folder: pathlib.Path) -> bool:
    """Returns whether a process has locked a folder by `alone_in`; False on a file system without locks."""
    try:
        with (folder / "lock").open() as file:  # reading creates none
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def one_at_a_time(lock: pathlib.Path) -> Iterator[None]:
    """Lets one process in at a time; the others wait until it ends, in whatever way.

    Where no lock is possible (a read-only folder, a file system without locks) nobody waits. A process that waits logs
    it, once for each folder of locks.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(lock.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log_waiting(lock.parent)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


@functools.cache
def _log_waiting(folder: pathlib.Path) -> None:
    logging.getLogger("rnnlab").info("%s: waiting for another process that prepares the data", folder)
