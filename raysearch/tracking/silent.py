"""Tracker `silent`: hears everything and keeps nothing; the journal has it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysearch.records import Configuration, InstanceResult, Model, Phase, Progress, Summary, TrialRequest, Verdict
from raysearch.rules import Elimination


@dataclass(frozen=True)
class Silent:
    """Does nothing at every call; other trackers that need only some of them derive from it."""

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        """Do nothing."""

    def started(self, train: TrialRequest) -> None:
        """Do nothing."""

    def told(self, configuration: Configuration, result: InstanceResult, phase: Phase) -> None:
        """Do nothing."""

    def scored(self, configuration: Configuration, round: int, summary: Summary) -> None:
        """Do nothing."""

    def eliminated(self, configurations: Sequence[Configuration], cut: Elimination[str]) -> None:
        """Do nothing."""

    def advanced(self, progress: Progress) -> None:
        """Do nothing."""

    def progress(self, progress: Progress) -> None:
        """Do nothing."""

    def measured(self, configuration: Configuration, seed: int | None, numbers: Mapping[str, float]) -> None:
        """Do nothing."""

    def finished(self, verdict: Verdict, artifacts: dict[str, Path], model: Model | None) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
