"""The journal: append-only events as fsynced JSON lines. Replaying it is the only way a race is restored.

A line is written and on disk before anything acts on it. The first line is the `start` event with the experiment.
"""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from pydantic_core import from_json

from raysearch.errors import JournalError, unknown
from raysearch.storage import requests
from raysearch.storage.clock import CLOCK, Clock
from raysearch.storage.decoding import EVENTS, Entry, entries
from raysearch.storage.disk import DISK, Disk
from raysearch.storage.encoding import Line, encode
from raysearch.storage.events import Event

VERSION = 1
"""Format of the lines; a journal of another version is refused."""

_READERS_S = 10.0
"""How long a driver waits where nobody but readers have the lock."""
_log = logging.getLogger(__name__)
_as_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Journal:
    """An open journal: one writer, locked against a second driver until it is closed or its process ends."""

    def __init__(self, path: Path, disk: Disk = DISK, clock: Clock = CLOCK) -> None:
        self.path, self._disk, self._clock = path, disk, clock
        self._together = False
        self._unsynced: int | None = None
        """Where in the file that begins which is not known to be on disk."""
        try:
            self._file = disk.append_to(path)  # held open, and locked, for the whole race
        except OSError as error:
            raise JournalError(f"cannot write the journal {path}: {error.strerror}") from error
        try:
            locked = self._lock()
        except OSError as error:
            self._file.close()
            raise JournalError(f"cannot lock the journal {path}: {error.strerror}") from error
        if not locked:
            self._file.close()
            raise JournalError(
                f"{path} is in use: another raysearch driver runs in this directory. Wait for it, or end it by "
                f"`raysearch stop {path.parent}`."
            )
        try:
            self._cut_torn_line()
        except OSError as error:
            self._file.close()
            raise JournalError(
                f"cannot cut the torn last line of the journal {path}: {error.strerror}. Mend the disk, then resume."
            ) from error
        requests.forget(path.parent)  # they were for the driver before

    def append(self, event: Event, time_s: float | None = None) -> None:
        """Write `event` and when it happened (seconds since 1970, now unless given), and wait until it is on disk."""
        self.write(encode(event), time_s)

    def write(self, line: Line, time_s: float | None = None) -> None:
        """Write an event as plain data, as `append` does."""
        stamped = {**line, "t": round(self._clock.time() if time_s is None else time_s, 3)}
        text = _as_text(stamped)
        data = memoryview(text.encode() + b"\n")
        start = self._file.size()
        try:
            while data:  # an unbuffered write may be partial
                data = data[self._file.write(data) :]
            if not self._together:
                self._file.sync()
        except OSError as error:
            raise self._taken_back(start, error) from error
        if self._unsynced is None and self._together:
            self._unsynced = start

    @contextmanager
    def together(self) -> Iterator[None]:
        """Wait once, at its end, until all that is written inside is on disk: nobody may act on it before."""
        if self._together:
            yield
            return
        self._together = True
        try:
            yield
        finally:
            self._together = False
            start, self._unsynced = self._unsynced, None
            if start is not None:
                try:
                    self._file.sync()
                except OSError as error:
                    raise self._taken_back(start, error) from error

    def _taken_back(self, start: int, error: OSError) -> JournalError:
        """Cut off what could not be written, and return what to say of it."""
        self._try_truncate(start)
        return JournalError(
            f"cannot write the journal {self.path}: {error.strerror}. Nothing is lost: mend the disk, then resume."
        )

    def close(self) -> None:
        """Let go of the file and its lock."""
        self._file.close()

    def __enter__(self) -> Journal:
        """Return the journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the journal."""
        self.close()

    def _lock(self) -> bool:
        """Return whether the journal is this driver's: `raysearch status` may have its lock for an instant only."""
        end = self._clock.monotonic() + _READERS_S
        while not self._file.lock():
            if not self._file.lock(shared=True) or self._clock.monotonic() >= end:  # a driver shares it with nobody
                return False
            self._file.unlock()
            self._clock.sleep(0.001)
        return True

    def _try_truncate(self, size: int) -> None:
        try:
            self._file.truncate(size)
        except OSError:  # the torn line will be cut when the journal is opened again
            _log.warning("could not cut the torn last line of %s", self.path)

    def _cut_torn_line(self) -> None:
        with self._disk.open(self.path) as file:
            data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            _log.warning("%s: cut off a torn last line of %d bytes", self.path, len(data) - whole)
            self._file.truncate(whole)


def read(path: Path, disk: Disk = DISK) -> Iterator[Line]:
    """Yield the lines of a journal, which may still be growing; a torn last line is left out.

    Raises:
        JournalError: there is no journal, its version is unknown, or a line other than the last is damaged.
    """
    try:
        file = disk.open(path)
    except OSError as error:
        raise JournalError(f"cannot read the journal {path}: {error.strerror}") from error
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                _log.warning("%s: line %d is torn and left out", path, number)
                return
            yield parse(line, path, number)


def all_entries(path: Path, disk: Disk = DISK) -> list[Entry]:
    """Return the events of a journal; raises JournalError, naming the line, where it is damaged."""
    with collector_paused():
        return list(entries(read(path, disk)))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python from looking for garbage: among many new objects that stay, it takes a third of the time in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def extent(path: Path) -> tuple[int, float | None]:
    """Return the number of a journal's events and the time of the last, without reading the others.

    Raises JournalError where there is no journal, or its last line is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"cannot read the journal {path}: {error.strerror}") from error
    n, end = data.count(b"\n"), data.rfind(b"\n")
    return n, (parse(data[data.rfind(b"\n", 0, end) + 1 : end + 1], path, n)["t"] if n else None)


def is_driven(path: Path) -> bool | None:
    """Return whether a driver holds the lock of its journal, without ever waiting for it or writing anything.

    None where the file system does not say.
    """
    return DISK.is_locked(path)


def parse(line: bytes, path: Path, number: int) -> Line:
    """Return line `number` of the journal at `path` as plain data; raises JournalError where it is no event."""
    try:
        try:
            event = from_json(line, allow_inf_nan=False)  # in a third of the time
        except ValueError:  # takes no half of a surrogate pair, which json writes
            event = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # bad JSON and bad UTF-8 are ValueErrors
        raise JournalError(
            f"{path}, line {number} is damaged: {error}. Restore the file from a copy, or cut it before that line; "
            "what those lines recorded is then trained again."
        ) from error
    if (
        not isinstance(event, dict)
        or not isinstance(event.get("event"), str)
        or type(event.get("t")) not in (int, float)
        or not 0 <= event["t"] < _END_OF_TIME
    ):
        raise JournalError(f"{path}, line {number} is no event: {line[:60]!r}")
    if event["event"] not in EVENTS:
        raise JournalError(f"{path}, line {number} is damaged: {unknown('event', event['event'], EVENTS)}")
    if number == 1 and (event["event"] != "start" or event.get("version") != VERSION):
        raise JournalError(f"{path} does not begin as a raysearch journal of version {VERSION}, but with {line[:60]!r}")
    return event


_END_OF_TIME = 1e11


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
