"""What people ask of a search that runs: lines of a file in its run directory that only its owner may write.

The driver reads them; what it does about them is in the journal. A file of somebody else, or one that others may write,
is not listened to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import getpass
import json
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raysearch.errors import RunDirectoryError
from raysearch.storage.run_directory import JOURNAL

REQUESTS = "requests.jsonl"
KEPT = ("drop",)
"""Kinds that wait for the next driver where nobody carries the search on."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One request: `stop` (`now`: without waiting for what runs), `pause`, `unpause`, or `drop` a configuration."""

    kind: Literal["stop", "pause", "unpause", "drop"]
    now: bool = False
    configuration_id: str = ""
    reason: str = ""
    by: str = ""


def ask(run_dir: Path, request: Request) -> None:
    """Leave a request for the driver of a search; raises RunDirectoryError for whoever is not the search's owner."""
    owner = os.stat(run_dir / JOURNAL).st_uid
    if owner != os.geteuid():
        raise RunDirectoryError(f"{run_dir} is user {owner}'s, and only its owner may steer it; you are {os.geteuid()}")
    request = dataclasses.replace(request, by=request.by or _user())
    with _opened(run_dir / REQUESTS, os.O_RDWR | os.O_APPEND | os.O_CREAT) as file:
        os.write(file, json.dumps(dataclasses.asdict(request)).encode() + b"\n")
        os.fsync(file)


def forget(run_dir: Path) -> None:
    """Drop the requests that were for an earlier driver: what the owner of the journal's lock does first."""
    with contextlib.suppress(OSError, RunDirectoryError), _opened(run_dir / REQUESTS, os.O_RDWR) as file:
        kept = [line for line in _read(file, 0).splitlines(keepends=True) if (r := _parse(line)) and r.kind in KEPT]
        os.ftruncate(file, 0)
        os.pwrite(file, b"".join(kept), 0)


class Requests:
    """Reads the requests for one driver, each once."""

    def __init__(self, run_dir: Path) -> None:
        self._path, self._offset = run_dir / REQUESTS, 0
        self._refused = False

    def more(self) -> list[Request]:
        """Return what has been asked for since the last call; a file that anybody else could write is passed over."""
        try:
            if os.stat(self._path).st_size <= self._offset:
                return []
            with _opened(self._path, os.O_RDONLY) as file:
                data = _read(file, self._offset)
        except FileNotFoundError:
            return []
        except (OSError, RunDirectoryError) as error:
            if not self._refused:
                _log.warning("requests to this search are not listened to: %s", error)
            self._refused = True
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [request for line in whole.splitlines() if (request := _parse(line)) is not None]


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open the file, locked; raises RunDirectoryError unless it is a plain file that only this user may write."""
    try:
        file = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunDirectoryError(
            f"cannot open {path}: {error.strerror}. It must be a file of your own; remove it"
        ) from error
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise RunDirectoryError(
                f"{path} is user {found.st_uid}'s with mode {stat.S_IMODE(found.st_mode):o}: it must be your own, with "
                "mode 600. Remove it"
            )
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _read(file: int, offset: int) -> bytes:
    return os.pread(file, 1 << 20, offset)


def _parse(line: bytes) -> Request | None:
    try:
        fields = json.loads(line)
        request = Request(**fields)
        if request.kind in ("stop", "pause", "unpause", "drop") and all(
            isinstance(one, str) for one in (request.configuration_id, request.reason, request.by)
        ):
            return request
    except (ValueError, TypeError):
        pass
    _log.warning("a request is none, and passed over: %.80r", line)
    return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return str(os.geteuid())
