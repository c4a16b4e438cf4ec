"""Trackers: who hears what happens in a race. They take records only and never slow the race down.

Contract: `open` raises TrackingError before anything trains if the tracker cannot work; `close` waits for what is still
to be written. A tracker that fails in mid-run must not raise: the journal can rebuild what it missed. `relay` alone
says what follows from an event, live and from a journal. What a tracker may offer beside it is in `abilities`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from raysearch.records import Configuration, InstanceResult, Model, Phase, Progress, Summary, TrialRequest, Verdict
from raysearch.rules import Elimination


class Tracker(Protocol):
    """A listener to a race."""

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        """Begin: `search` is the experiment as plain data (name, seed, criterion, rule, workload ...)."""

    def started(self, train: TrialRequest) -> None:
        """Instances were handed out."""

    def told(self, configuration: Configuration, result: InstanceResult, phase: Phase) -> None:
        """An instance has ended; `result.weights` are the safetensors bytes if the workload gave any."""

    def scored(self, configuration: Configuration, round: int, summary: Summary) -> None:
        """The criterion of a configuration at the end of a round."""

    def eliminated(self, configurations: Sequence[Configuration], cut: Elimination[str]) -> None:
        """A cut: these configurations, named in it by id, are out; round 0 over 0 instances: screened out."""

    def advanced(self, progress: Progress) -> None:
        """The race has come to another round, and stands so at its beginning."""

    def progress(self, progress: Progress) -> None:
        """How far the race is; may come several times a second."""

    def measured(self, configuration: Configuration, seed: int | None, numbers: Mapping[str, float]) -> None:
        """Measures, as `NAME.NUMBER`, of one kept instance, or (`seed` None) of a configuration over its instances."""

    def finished(self, verdict: Verdict, artifacts: dict[str, Path], model: Model | None) -> None:
        """The race is over; `artifacts` are files by name (report, instances) that belong to the search.

        `model` is the winner's confirmation instance of median loss, where the workload can export one.
        """

    def close(self) -> None:
        """Write out what is left and let go. Called also when the race broke off."""
