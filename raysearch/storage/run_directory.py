"""The run directory: where one search keeps everything that outlives its process."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from raysearch.errors import RunDirectoryError
from raysearch.storage.whole_file import whole

JOURNAL, EXPERIMENT, INSTANCES, REPORT = "journal.jsonl", "experiment.yaml", "instances.parquet", "report.html"


class RunDirectory:
    """Paths of one search. Files appear whole: written aside, then renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal, self.experiment = path / JOURNAL, path / EXPERIMENT
        self.instances, self.report = path / INSTANCES, path / REPORT

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunDirectory:
        """Make a directory for a new search: `path`, or `runs/NAME-TIME` below the working directory.

        Raises RunDirectoryError if it holds a journal already or cannot be written.
        """
        if path is None:
            return cls(_claim(Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute())
        directory = cls(path.absolute())
        if directory.journal.exists() and directory.journal.stat().st_size > 0:  # empty: a search that never began
            raise RunDirectoryError(
                f"{path} holds a search already. Go on with it by `raysearch resume {path}`, or choose another "
                "directory with `--run-dir`"
            )
        try:
            directory.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"cannot make the run directory {path}: {error.strerror}") from error
        return directory

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Return the directory of a search that exists; raises RunDirectoryError where there is none."""
        directory = cls(path.absolute())
        if not directory.journal.is_file():
            raise RunDirectoryError(f"{path} is no run directory: it holds no {JOURNAL}")
        return directory

    def write_text(self, path: Path, text: str) -> None:
        """Write a file aside and rename it, so that it is never seen half written."""
        try:
            with whole(path) as aside:
                aside.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RunDirectoryError(f"cannot write {path}: {error.strerror}") from error


def _claim(path: Path) -> Path:
    """Make `path`, or the first of `path-2`, `path-3` ... that nobody has made, and return it."""
    candidate, number = path, 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with contextlib.suppress(FileExistsError):
                candidate.mkdir()  # fails where it is there: of several that start at once, one gets it
                return candidate
            number += 1
            candidate = path.with_name(f"{path.name}-{number}")
    except OSError as error:
        raise RunDirectoryError(f"cannot make the run directory {candidate}: {error.strerror}") from error
