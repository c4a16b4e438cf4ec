"""The disk of a search: all that a journal asks of the operating system; tests give a simulated one."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Protocol


class File(Protocol):
    """A file that is held open to be appended to."""

    def size(self) -> int:
        """Return its length in bytes."""

    def write(self, data: memoryview, /) -> int:
        """Append, perhaps a part only; return how many bytes. Raises OSError."""

    def sync(self) -> None:
        """Return when all that was written is on disk. Raises OSError."""

    def truncate(self, size: int, /) -> None:
        """Cut it to `size` bytes. Raises OSError."""

    def lock(self, *, shared: bool = False) -> bool:
        """Try to lock it against others, or against all but those who share; return whether it is. Raises OSError."""

    def unlock(self) -> None:
        """Let go of the lock."""

    def close(self) -> None:
        """Let go of file and lock."""


class Disk(Protocol):
    """Where journals are."""

    def append_to(self, path: Path, /) -> File:
        """Open a file to append to it, made if there is none. Raises OSError."""

    def open(self, path: Path, /) -> BinaryIO:
        """Open a file to read it. Raises OSError."""

    def is_locked(self, path: Path, /) -> bool | None:
        """Return whether somebody has locked it, without waiting or writing; None where the disk does not say."""


class _RealFile:
    def __init__(self, path: Path) -> None:
        # NFS shares a lock only with those who may read
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def write(self, data: memoryview, /) -> int:
        return self._file.write(data)

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def truncate(self, size: int, /) -> None:
        os.ftruncate(self._file.fileno(), size)

    def lock(self, *, shared: bool = False) -> bool:
        try:
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()


class _RealDisk:
    def append_to(self, path: Path, /) -> File:
        return _RealFile(path)

    def open(self, path: Path, /) -> BinaryIO:
        return open(path, "rb")

    def is_locked(self, path: Path, /) -> bool | None:
        try:
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return None
        return False


DISK: Disk = _RealDisk()
"""This machine's."""
