"""Several trackers as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raysearch.records import Configuration, InstanceResult, Model, Phase, Progress, Summary, TrialRequest, Verdict
from raysearch.rules import Elimination
from raysearch.tracking import Tracker
from raysearch.tracking.abilities import ShowsIntervals, Timed


class Trackers:
    """Passes every call on to each of several trackers, in their order."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = tuple(trackers)
        self._timed = [one for one in self.trackers if isinstance(one, Timed)]  # asked once: they hear of every event

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        """Open all; where one refuses, close those that are open."""
        for n, tracker in enumerate(self.trackers):
            try:
                tracker.open(search, run_dir)
            except BaseException:
                for opened in self.trackers[:n]:
                    opened.close()
                raise

    def started(self, train: TrialRequest) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.started(train)

    def told(self, configuration: Configuration, result: InstanceResult, phase: Phase) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.told(configuration, result, phase)

    def scored(self, configuration: Configuration, round: int, summary: Summary) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.scored(configuration, round, summary)

    def eliminated(self, configurations: Sequence[Configuration], cut: Elimination[str]) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.eliminated(configurations, cut)

    def advanced(self, progress: Progress) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.advanced(progress)

    def progress(self, progress: Progress) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.progress(progress)

    def measured(self, configuration: Configuration, seed: int | None, numbers: Mapping[str, float]) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.measured(configuration, seed, numbers)

    def finished(self, verdict: Verdict, artifacts: dict[str, Path], model: Model | None) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.finished(verdict, artifacts, model)

    @property
    def shows_intervals(self) -> bool:
        """Whether one of them shows intervals."""
        return any(isinstance(tracker, ShowsIntervals) and tracker.shows_intervals for tracker in self.trackers)

    def at(self, time_s: float) -> None:
        """Pass on to those who keep when things happened."""
        for tracker in self._timed:
            tracker.at(time_s)

    def close(self) -> None:
        """Close all, the last first."""
        for tracker in reversed(self.trackers):
            tracker.close()
