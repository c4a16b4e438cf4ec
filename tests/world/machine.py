"""The machine of a world: its clock, its disk, and the moment at which its driver dies."""

from __future__ import annotations

import errno
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


class Killed(BaseException):
    """A driver's process is gone; no Exception, so that nothing in it handles it."""


class Fuse:
    """Kills the driver at the end of so many steps: operations on disk or store. None: it lives."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.n_steps = 0

    def burn(self, before: Callable[[], None] | None = None) -> None:
        """Count a step; at the last one do what a dying process has done `before`, and die."""
        self.n_steps += 1
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            if before is not None:
                before()
            raise Killed


class Clock:
    """Simulated seconds; the time of day jumps where a world wants it to."""

    def __init__(self) -> None:
        self.now, self.ahead = 0.0, 1.7e9
        self.while_asleep: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now + self.ahead

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds
        for one in self.while_asleep:
            one()

    def jump(self, seconds: float) -> None:
        """Set the time of day forward or back."""
        self.ahead = max(self.ahead + seconds, 1.0)


class Content:
    """A file: what a reader sees, what would survive a power cut, and who holds its lock."""

    def __init__(self) -> None:
        self.seen, self.durable = bytearray(), bytearray()
        self.common = 0
        """So many first bytes of both are the same: what is appended is copied once, not the whole at every sync."""
        self.holder: object = None
        self.readers: set[object] = set()

    def sync(self) -> None:
        """Let all that is seen survive."""
        del self.durable[self.common :]
        self.durable += self.seen[self.common :]
        self.common = len(self.durable)

    def cut(self, size: int) -> None:
        """Let nothing behind `size` be seen."""
        del self.seen[size:]
        self.common = min(self.common, size)

    def lose_power(self, g: random.Random) -> None:
        """Let only what survives be seen, perhaps with a part of what was appended to it, or was in its place."""
        if self.common == len(self.durable):
            extra = self.seen[self.common :]
            self.durable += extra[: g.randint(0, len(extra))]
        elif g.random() >= 0.5:
            self.durable = bytearray(self.seen)
        self.seen = bytearray(self.durable)
        self.common = len(self.seen)


class Disk:
    """Files in memory. Faults are named in `faults`, each struck once: short, full, eio, and which follow of them."""

    def __init__(self, fuse: Fuse, g: random.Random) -> None:
        self.files: dict[Path, Content] = {}
        self.fuse, self.g = fuse, g
        self.faults: dict[str, int] = {}
        """By fault, in how many operations of its kind it strikes."""
        self.n_faults = 0
        self.full = False
        self.driver: object = None

    def append_to(self, path: Path, /) -> File:
        self.fuse.burn()
        return File(self, self.files.setdefault(path, Content()))

    def open(self, path: Path, /) -> BinaryIO:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return io.BytesIO(self.files[path].seen)

    def is_locked(self, path: Path, /) -> bool | None:
        return self.files[path].holder is not None

    def strikes(self, fault: str) -> bool:
        """Count an operation; return whether the fault strikes now."""
        if fault not in self.faults:
            return False
        self.faults[fault] -= 1
        if self.faults[fault] > 0:
            return False
        del self.faults[fault]
        self.n_faults += 1
        return True

    def die(self, power: bool) -> None:
        """Let go of all locks of a dead driver; with the `power` goes what was not on disk, or a part of it."""
        self.full = False
        for content in self.files.values():
            content.holder = None
            content.readers.clear()
            if power:
                content.lose_power(self.g)


class File:
    """An open file of a disk."""

    def __init__(self, disk: Disk, content: Content) -> None:
        self.disk, self.content, self.driver = disk, content, disk.driver

    def size(self) -> int:
        return len(self.content.seen)

    def write(self, data: memoryview, /) -> int:
        disk, seen = self.disk, self.content.seen
        torn = disk.g.randint(0, len(data)) if disk.fuse.left == 0 else 0
        disk.fuse.burn(lambda: seen.extend(data[:torn]))
        if disk.full or disk.strikes("full"):
            disk.full = True
            fits = disk.g.randint(0, 2) if len(data) > 3 else 0
            if fits:
                seen.extend(data[:fits])
                return fits
            raise OSError(errno.ENOSPC, "No space left on device")
        n = disk.g.randint(1, len(data)) if disk.strikes("short") else len(data)
        seen.extend(data[:n])
        return n

    def sync(self) -> None:
        self.disk.fuse.burn()
        if self.disk.strikes("eio"):
            if self.disk.g.random() < 0.5:
                self.content.sync()
            raise OSError(errno.EIO, "Input/output error")
        self.content.sync()
        self.disk.fuse.burn()

    def truncate(self, size: int, /) -> None:
        self.disk.fuse.burn()
        if self.disk.strikes("stuck"):
            raise OSError(errno.EIO, "Input/output error")
        self.content.cut(size)

    def lock(self, *, shared: bool = False) -> bool:
        others = self.content.readers - {self}
        if self.content.holder not in (None, self) or (others and not shared):
            return False
        if shared:
            self.content.readers.add(self)
        else:
            self.content.holder = self
        return True

    def unlock(self) -> None:
        self.content.readers.discard(self)
        if self.content.holder is self:
            self.content.holder = None

    def close(self) -> None:
        self.unlock()
