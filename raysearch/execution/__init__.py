"""Executors: who carries a race out. Whatever the executor, the same losses give the same decisions.

Contract: a frozen dataclass with `check(workload)`, which before anything trains raises ResourceError if the machines
lack what is asked for and ExperimentError if the workload cannot be sent to them, and `run(conductor, workload)`, which
asks the conductor for work until it answers DONE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a worker imports this room, and needs no racing core
    from raysearch.execution.conductor import Conductor
    from raysearch.workloads import Workload


class Executor(Protocol):
    """Carries out a race."""

    def check(self, workload: Workload) -> None:
        """Raise ResourceError or ExperimentError if this executor cannot train this workload here."""

    def run(self, conductor: Conductor, workload: Workload) -> None:
        """Train what the race asks for until it is done; raises WorkloadError where failures are to end the search."""
