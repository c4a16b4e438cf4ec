"""Gauges of a race for Prometheus, exported by Ray with its own metrics (needs the extra `cluster`)."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import ray
from ray.util.metrics import Gauge

from raysearch.records import Configuration, InstanceResult, Model, Phase, Progress, Summary, TrialRequest, Verdict
from raysearch.rules import Elimination

GAUGES: Final = {
    "raysearch_instances": "Instances by status; RUNNING are those handed out and not ended.",
    "raysearch_survivors": "Configurations still in the race.",
    "raysearch_round": "The current round, from 1.",
    "raysearch_incumbent_criterion": "Criterion of the best configuration so far; lower is better.",
    "raysearch_instances_per_minute": "Instances that ended within the last minute.",
    "raysearch_idle_slots": "Instances that could be trained beside those that are.",
    "raysearch_tracker_backlog": "Calls that wait for the tracking server.",
}
"""Name and meaning of every gauge; Ray puts `ray_` before the name. Tags: `search`, and `status` for the first."""

_PERIOD_S = 1.0
_WINDOW_S = 60.0


class Gauges:
    """A tracker that sets Ray metrics, at most once a second, and never fails a race.

    Args:
        cpus: CPUs per trial, and
        gpus: GPUs per trial, which say how many slots the live nodes have.
        backlog: returns how many calls wait for the tracking server; None where there is none.
    """

    def __init__(self, cpus: float = 1.0, gpus: float = 0.0, backlog: Callable[[], int] | None = None) -> None:
        self._cpus, self._gpus, self._backlog = cpus, gpus, backlog
        self._search = "raysearch"
        self._gauges: dict[str, Gauge] = {}
        self._ended: deque[float] = deque()
        self._progress: Progress | None = None
        self._published = -math.inf

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        """Take the search's name for the tag `search`."""
        self._search = str(search.get("name") or run_dir.name)

    def started(self, train: TrialRequest) -> None:
        """Pass over: the progress counts what runs."""

    def told(self, configuration: Configuration, result: InstanceResult, phase: Phase) -> None:
        """Note when an instance ended."""
        self._ended.append(time.monotonic())

    def scored(self, configuration: Configuration, round: int, summary: Summary) -> None:
        """Pass over: the progress has the incumbent's criterion."""

    def eliminated(self, configurations: Sequence[Configuration], cut: Elimination[str]) -> None:
        """Pass over: the progress counts the survivors."""

    def advanced(self, progress: Progress) -> None:
        """Set the gauges as a round begins."""
        self.progress(progress)

    def progress(self, progress: Progress) -> None:
        """Set the gauges, unless they were set a moment ago."""
        self._progress = progress
        if time.monotonic() - self._published >= _PERIOD_S:
            self._publish()

    def measured(self, configuration: Configuration, seed: int | None, numbers: Mapping[str, float]) -> None:
        """Pass over: measures are no gauges."""

    def finished(self, verdict: Verdict, artifacts: dict[str, Path], model: Model | None) -> None:
        """Set the gauges to where the race ended."""
        self._publish()

    def close(self) -> None:
        """Set the gauges a last time."""
        self._publish()

    def _publish(self) -> None:
        if self._progress is None or not ray.is_initialized():
            return
        self._published = time.monotonic()
        for (name, *status), value in self._values(self._progress).items():
            tags = {"search": self._search, **({"status": status[0]} if status else {})}
            if math.isfinite(value):
                self._gauge(name, tuple(tags)).set(value, tags)

    def _values(self, now: Progress) -> dict[tuple[str, ...], float]:
        values: dict[tuple[str, ...], float] = {
            ("raysearch_instances", "COMPLETE"): now.n_finished - now.n_diverged - now.n_failed,
            ("raysearch_instances", "DIVERGED"): now.n_diverged,
            ("raysearch_instances", "FAILED"): now.n_failed,
            ("raysearch_instances", "STOPPED"): now.n_stopped,
            ("raysearch_instances", "RUNNING"): now.n_running,
            ("raysearch_survivors",): now.n_survivors,
            ("raysearch_round",): now.round,
            ("raysearch_incumbent_criterion",): now.incumbent_value,
            ("raysearch_instances_per_minute",): self._per_minute(now.elapsed_s),
            ("raysearch_idle_slots",): max(self._slots() - now.n_running, 0),
        }
        if self._backlog is not None:
            values[("raysearch_tracker_backlog",)] = self._backlog()
        return values

    def _per_minute(self, elapsed_s: float) -> float:
        since = time.monotonic() - _WINDOW_S
        while self._ended and self._ended[0] < since:
            self._ended.popleft()
        return len(self._ended) * 60.0 / min(max(elapsed_s, 1.0), _WINDOW_S)

    def _slots(self) -> int:
        wanted = [(name, each) for name, each in (("CPU", self._cpus), ("GPU", self._gpus)) if each > 0]
        # node by node: half a GPU here and half a GPU there are no GPU; the small term forgives 0.9999 of a slot
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return sum(min(int(has.get(name, 0) / each + 1e-6) for name, each in wanted) for has in nodes)

    def _gauge(self, name: str, tag_keys: tuple[str, ...]) -> Gauge:
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, description=GAUGES[name], tag_keys=tag_keys)
        return self._gauges[name]
