"""No process that a test started outlives it: whoever leaves one is named, with its command, and the process killed.

Processes of this session are those below this one, and those that inherited its mark in their environment, whoever is
their parent by now. What a fixture of a module or of the session started may live as long as that fixture does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE_S = 90.0
"""How long what was told to end may take on a busy machine; who leaves nothing waits for nothing."""
PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A living process."""

    pid: int
    parent: int
    command: str


class LeftBehind:
    """Knows which processes are this session's, and which of them may be there."""

    def __init__(self) -> None:
        self._mark = f"RAYSEARCH_TESTS_OF={os.getpid()}".encode()
        name, _, value = self._mark.decode().partition("=")
        os.environ[name] = value
        self._strangers: set[int] = set()
        self._kept: dict[int, object] = {}
        """What outlives a test by right, and the fixture it belongs to."""

    def living(self) -> dict[int, Process]:
        """Return the processes of this session but this one itself."""
        pids = {int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()} if PROC.is_dir() else set()
        self._strangers &= pids
        found = {pid: process for pid in pids - self._strangers if (process := _look(pid)) is not None}
        ours = {pid for pid in found if self._is_marked(pid)}
        more = {os.getpid()}
        while more:
            more = {process.pid for process in found.values() if process.parent in more | ours} - ours
            ours |= more
        ours.discard(os.getpid())
        self._strangers |= found.keys() - ours
        return {pid: found[pid] for pid in ours}

    def _is_marked(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            return self._mark in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        return False

    @contextlib.contextmanager
    def keeping(self, owner: object) -> Iterator[None]:
        """Let processes that are started inside live on, until `owner` is dropped."""
        before = self.living()
        try:
            yield
        finally:
            self._kept |= dict.fromkeys(self.living().keys() - before.keys(), owner)

    def drop(self, owner: object) -> None:
        """Take back the right of what belongs to an owner."""
        self._kept = {pid: whose for pid, whose in self._kept.items() if whose is not owner}

    def left(self) -> list[Process]:
        """Return the processes that should have ended, and no children of those that may be there."""
        living = self.living()
        self._kept = {pid: owner for pid, owner in self._kept.items() if pid in living}

        def may_be_there(pid: int) -> bool:
            return pid in self._kept or (pid in living and may_be_there(living[pid].parent))

        return [process for pid, process in living.items() if not may_be_there(pid)]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
        """Let what a fixture of more than one test starts live as long as it does."""
        if fixturedef.scope == "function":
            return (yield)
        with self.keeping(fixturedef):
            return (yield)

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[object]) -> None:
        """No longer."""
        self.drop(fixturedef)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        """Look when everything of a test has been taken down."""
        result = yield
        end = time.monotonic() + PATIENCE_S
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(0.02)
        if left:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            listed = "\n".join(f"  {process.pid}: {process.command}" for process in left)
            pytest.fail(f"{item.nodeid} left processes behind, killed now:\n{listed}", pytrace=False)
        return result


def _look(pid: int) -> Process | None:
    """Return a process, or None if it has ended, be it that nobody has asked for its end yet."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        command = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[1]), command)


def pytest_configure(config: pytest.Config) -> None:
    """Look after every test."""
    config.pluginmanager.register(LeftBehind(), "processes-left-behind")
