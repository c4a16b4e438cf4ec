"""Kinds of tests, by what a test needs. Every test has exactly one; at the end the suite tells what each took.

A kind is a marker, so `pytest -m ray` runs one. A test has the kind it is marked with, or that of its fixtures and its
folder; where nothing says so it is `pure`, and a pure test that starts a process or opens a database fails.
"""

from __future__ import annotations

import platform
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

KINDS = {
    "pure": "nothing but this process",
    "process": "processes of its own",
    "mlflow": "an MLflow store, in a file or behind a server",
    "cluster": "the files and daemons of cluster/ and dashboards/: hosts, Slurm, Compose, PostgreSQL, Prometheus",
    "ray": "a Ray cluster",
}
"""By what they cost; tests are carried out in this order, so that nobody shares the machine with an idle Ray."""
TOGETHER = ("cluster", "ray")
"""Kinds whose tests run in one process after each other: they share ports and namespaces, or a Ray cluster.

Tests that start a Ray cluster of their own share none, and have a process beside that of the others.
"""
FIXTURES = {"start": "process", "make_store": "mlflow", "ray_cluster": "ray"}
FOLDERS = {"cluster": "cluster", "dashboards": "cluster"}
RANK = list(KINDS)

# what a test of a kind may not do; Ray needs both
EVENTS = {"subprocess.Popen": "process", "os.fork": "process", "os.posix_spawn": "process", "sqlite3.connect": "mlflow"}
_seen: set[str] = set()


def kind_of(item: pytest.Item) -> str:
    """Return the kind of a test; raises UsageError for two kinds, or one that its fixtures contradict."""
    marked = {marker.name for marker in item.iter_markers() if marker.name in KINDS}
    names: Any = getattr(item, "fixturenames", ())
    facts = {FIXTURES[name] for name in names if name in FIXTURES} | {FOLDERS.get(item.path.parent.name, "pure")}
    needed = max(facts, key=RANK.index)
    if len(marked) > 1:
        raise pytest.UsageError(f"{item.nodeid} is marked {' and '.join(sorted(marked))}: a test has one kind")
    if marked and RANK.index(*marked) < RANK.index(needed):
        raise pytest.UsageError(f"{item.nodeid} is marked {marked.pop()}, its fixtures or its folder make it {needed}")
    return marked.pop() if marked else needed


class Kinds:
    """Gives every test its kind, holds it to it, and adds up what the kinds take."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.outcomes: Counter[tuple[str, str]] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Mark every test before `-m` chooses, the cheap kinds first, or the dear ones where processes share them."""
        for item in items:
            kind = kind_of(item)
            if item.get_closest_marker(kind) is None:
                item.add_marker(kind)
            item.add_marker(pytest.mark.xdist_group(_group(item, kind)))
        # who starts a cluster of its own goes first: the shared one would have to be started anew after it
        direction = -1 if hasattr(config, "workerinput") else 1  # what takes longest would be left over at the end
        items.sort(key=lambda item: (direction * RANK.index(_marked(item)), _shares_ray(item)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Fail a test that needs more than its kind says."""
        yield
        needed = max(("pure", *_seen), key=RANK.index)
        kind = _marked(item)
        if RANK.index(needed) > RANK.index(kind):
            pytest.fail(f"a {kind} test that needs {KINDS[needed]}: mark it `pytest.mark.{needed}`")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Forget what the test before did."""
        _seen.clear()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """Write the kind on the report, which may be read in another process."""
        report: Any = yield
        report.kind = _marked(item)
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Add up the time of setup, call and teardown; what tests share counts where it is made."""
        kind = report.kind
        self.seconds[kind] += report.duration
        if report.when == "call" or report.skipped:
            self.outcomes[kind, "skipped" if report.skipped else "run"] += 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Tell it."""
        if not self.seconds:
            return
        terminalreporter.section("time by kind")
        terminalreporter.line(f"{'kind':8} {'tests':>7} {'skipped':>8} {'seconds':>9}")
        for kind in [kind for kind in KINDS if kind in self.seconds]:
            row = f"{self.outcomes[kind, 'run']:7} {self.outcomes[kind, 'skipped']:8} {self.seconds[kind]:9.1f}"
            terminalreporter.line(f"{kind:8} {row}")


def _group(item: pytest.Item, kind: str) -> str:
    """Return the name that tests have in common which one process carries out, where several do (pytest-xdist)."""
    if kind == "ray":
        return "ray" if _shares_ray(item) else "rays"
    return kind if kind in TOGETHER else str(item.path)


def _shares_ray(item: pytest.Item) -> bool:
    return "ray_cluster" in getattr(item, "fixturenames", ())


def _marked(item: pytest.Item) -> str:
    return next(kind for kind in KINDS if item.get_closest_marker(kind))


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event in EVENTS:
        _seen.add(EVENTS[event])


def pytest_configure(config: pytest.Config) -> None:
    """Make the kinds markers."""
    for kind, what in KINDS.items():
        config.addinivalue_line("markers", f"{kind}: needs {what}")
    platform.platform()  # asks `uname` once, on behalf of whoever is the first to want to know
    sys.addaudithook(_hear)
    config.pluginmanager.register(Kinds(), "kinds-of-tests")
