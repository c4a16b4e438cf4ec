"""All searches of a folder: how each stands, its best so far and what it spent."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from raysearch.analysis.live import LiveRace, MakeRace
from raysearch.analysis.live_sections import Section, sections
from raysearch.errors import RaysearchError
from raysearch.storage.run_directory import JOURNAL

_LIMIT = 500


class Overview:
    """The searches in the folders below `root`, the youngest first; none is read again unless it has grown.

    `make_race` gives the race that a journal is replayed into.
    """

    def __init__(self, root: Path, make_race: MakeRace) -> None:
        self.root, self._make_race = root, make_race
        self._rows: dict[str, tuple[tuple[int, int], Section]] = {}
        self._open: dict[str, LiveRace] = {}
        """Those that a driver carries on: they are read on, not anew."""

    def names(self) -> list[str]:
        """Return the names of the folders that hold a search, the one that told something last first."""
        try:
            found = [path for path in self.root.iterdir() if (path / JOURNAL).is_file()]
        except OSError:
            return []
        return [path.name for path in sorted(found, key=lambda path: -_stamp(path / JOURNAL)[1])][:_LIMIT]

    @property
    def rows(self) -> list[Section]:
        """A row for each search that has been read."""
        return [self._rows[name][1] for name in self.names() if name in self._rows]

    def read(self) -> Iterator[str]:
        """Bring the rows up to date, journal by journal, and yield the name of each search that has been read."""
        names = self.names()
        for name in names:
            path = self.root / name / JOURNAL
            stamp, before = _stamp(path), self._rows.get(name)
            if before is not None and before[0] == stamp and before[1]["state"] != "running":
                continue
            live = self._open.setdefault(name, LiveRace(path, self._make_race))
            self._rows[name] = (stamp, {"run": name, **_row(live)})
            if self._rows[name][1]["state"] != "running":
                del self._open[name]
            yield name
        self._rows = {name: row for name, row in self._rows.items() if name in names}


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _row(live: LiveRace) -> Section:
    try:
        while live.read():
            pass
        shown = sections(live, only=("head", "now"))
    except RaysearchError as error:
        return {"state": "damaged", "error": str(error)[:300], "changed": time.time()}
    head, now = shown["head"], shown.get("now", {})
    kept = ("state", "name", "criterion", "rule", "round", "phase", "changed")
    spent = ("leader", "value", "n_survivors", "n_configurations", "n_finished", "n_expected", "elapsed_s", "n_failed")
    return {key: head.get(key) for key in kept} | {key: now.get(key) for key in spent} | {"began": live.began}
