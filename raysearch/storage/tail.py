"""A journal that is being written, read as it grows."""

from __future__ import annotations

import os
from pathlib import Path

from raysearch.errors import JournalError
from raysearch.records import Configuration
from raysearch.storage import events as e
from raysearch.storage.decoding import Entry, decode
from raysearch.storage.journal import parse


class Tail:
    """Gives a journal's events, each once, as they come; it never writes and never waits.

    A line counts once it is whole. Where what was read is no longer what the file begins with (a driver whose disk was
    full cut it, or somebody put another file in its place), `more` begins again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self._offset, self._number = 0, 0
        self._last = b""
        self._known: dict[str, Configuration] = {}

    @property
    def share(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        size = self._size()
        return min(self._offset / size, 1.0) if size else 1.0

    def more(self, n_bytes: int = 1 << 20) -> list[Entry] | None:
        """Return the next events, from about `n_bytes` of the file; none where nothing was added.

        None in place of a list: what was given before no longer stands, and the next call begins with the first event.
        Raises JournalError where there is no journal, or a line of it is damaged.
        """
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset - len(self._last))
                if file.read(len(self._last)) != self._last:
                    self._begin()
                    return None
                data = file.read(n_bytes)
                data += file.readline() if len(data) == n_bytes else b""
        except OSError as error:
            raise JournalError(f"cannot read the journal {self.path}: {error.strerror}") from error
        *lines, _ = data.split(b"\n")  # behind the last end of a line: what is still being written
        return [self._take(line + b"\n") for line in lines]

    def _take(self, line: bytes) -> Entry:
        number = self._number + 1
        fields = parse(line, self.path, number)
        try:
            event = decode(fields, self._known)
        except JournalError as error:
            raise JournalError(f"line {number} of the journal: {error}") from error
        if isinstance(event, e.Wave):
            self._known.update({configuration.id: configuration for configuration in event.configurations})
        self._number, self._last = number, line
        self._offset += len(line)
        return Entry(number, float(fields["t"]), event)

    def _size(self) -> int:
        try:
            return os.stat(self.path).st_size
        except OSError:
            return 0
