"""Executors: who carries a race out. Whatever the executor, the same losses give the same decisions.

Contract: a frozen dataclass with `check`, which is called before anything trains, and `run`, which asks the runner
for work until it answers DONE. An executor with monitoring of its own may show a race there: `HasGauges`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # a worker imports this room, and needs no racing core
    from raysearch.execution.race_runner import RaceRunner
    from raysearch.tracking import Tracker
    from raysearch.workloads import Workload


class Executor(Protocol):
    """Carries out a race."""

    def check(self, workload: Workload) -> None:
        """Raise ResourceError if the machines lack what is asked for, ExperimentError if they cannot get it."""

    def run(self, runner: RaceRunner, workload: Workload) -> None:
        """Train what the race asks for until it is done; raises WorkloadError where failures are to end the search."""


@runtime_checkable
class HasGauges(Protocol):
    """An executor that exports how a race stands with its own metrics."""

    def gauges(self, tracker: Tracker) -> Tracker:
        """Return the tracker that exports it, and how many calls wait for `tracker`."""
        ...
