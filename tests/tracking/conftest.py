"""A small race told to a tracker, as the driver of a search would: 12 configurations, halving, 5 confirmations."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysearch.criteria.intervals import bounds
from raysearch.criteria.q3 import Q3
from raysearch.records import (
    Configuration,
    InstanceKey,
    InstanceResult,
    Phase,
    Progress,
    Status,
    Summary,
    TrialRequest,
    Verdict,
)
from raysearch.rules import Elimination

SEARCH = {"name": "small", "seed": 3, "criterion": "q3", "rule": {"name": "halving", "warmup": 2}}


def summary(losses: list[float]) -> Summary:
    values = np.asarray(losses)
    if not np.isfinite(values).all():
        return Summary(len(losses), math.inf, math.inf, math.inf, math.nan, math.inf, math.inf, math.nan)
    q1, median, q3 = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    rest = (float(values.max()), float(values.mean()), float(values.std()))
    return Summary(len(losses), q3, median, q3, q3 - q1, *rest, bounds(losses, Q3()))


@dataclass
class SmallRace:
    """Tells its story to a tracker; the fourth configuration fails once, the fifth diverges once."""

    n: int = 8
    confirm: int = 5
    epochs: int = 6
    weights: bool = True
    configurations: list[Configuration] = field(init=False)
    results: dict[InstanceKey, InstanceResult] = field(default_factory=dict)
    eliminations: list[Elimination[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.configurations = [
            Configuration.of({"conv": 8 * 2 ** (i % 3), "lr": [1e-3, 1e-2][i % 2], "net": {"depth": i}})
            for i in range(self.n)
        ]

    def result(self, configuration: Configuration, seed: int) -> InstanceResult:
        """The same result for the same instance."""
        key, index = InstanceKey(configuration.id, seed), self.configurations.index(configuration)
        loss = 0.1 + 0.02 * index + float(np.random.default_rng([index, seed]).gamma(2, 0.01))
        curve = tuple(loss + math.exp(-epoch / 2) for epoch in range(self.epochs))
        if (index, seed) == (3, 1):
            error = "Traceback (most recent call last):\n  ...\nValueError: bad shape (3, 4)\n"
            return InstanceResult(key, math.inf, Status.FAILED, error=error, seconds=0.2, attempt=3)
        if (index, seed) == (4, 0):
            return InstanceResult.of(key, math.nan, curve=(*curve[:3], math.inf), seconds=0.5)
        weights = f"{configuration.id} {seed}".encode() if self.weights else None
        more: dict[str, Any] = {"test_loss": 1.1 * loss, "node": "10.0.0.1", "metrics": {"ece": 0.1}}
        return InstanceResult.of(key, loss, curve=curve, seconds=1.5, weights=weights, **more)

    def train(self, tracker: Any, configuration: Configuration, seed: int, phase: Phase = Phase.RACE) -> float:
        result = self.result(configuration, seed)
        tracker.started(TrialRequest(configuration, (seed,), phase))
        tracker.told(configuration, result, phase)
        self.results[result.key] = result
        return result.loss

    def race(self, tracker: Any) -> Verdict:
        """Halve until one is left, confirm it, return the verdict; neither opens, finishes nor closes."""
        alive, losses, round = list(self.configurations), {c.id: [] for c in self.configurations}, 0
        while len(alive) > 1:
            round += 1
            for configuration in alive:
                losses[configuration.id].append(self.train(tracker, configuration, round - 1))
                tracker.scored(configuration, round, summary(losses[configuration.id]))
            value = {c.id: summary(losses[c.id]).criterion for c in alive}
            alive.sort(key=lambda c: value[c.id])
            n_done = len(self.results)
            tracker.advanced(Progress(round, self.n, len(alive), n_done, 0, 40, alive[0], value[alive[0].id]))
            if round >= 2:
                alive, out = alive[: len(alive) // 2], alive[len(alive) // 2 :]
                ids, values = tuple(c.id for c in out), tuple(value[c.id] for c in out)
                cut = Elimination(round, value[alive[-1].id], round, ids, values)
                self.eliminations.append(cut)
                tracker.eliminated(out, cut)
        winner = alive[0]
        fresh = [self.train(tracker, winner, 1000 + i, Phase.CONFIRMATION) for i in range(self.confirm)]
        own, final = summary(losses[winner.id]), summary(fresh) if fresh else None
        return Verdict(winner, "q3", own, self.n, len(self.results), 50 * self.n, final, test_median=0.12)

    def run(self, tracker: Any, run_dir: Path, model: Any = None) -> Verdict:
        """The whole life of a tracker."""
        tracker.open(SEARCH, run_dir)
        verdict = self.race(tracker)
        report = run_dir / "report.html"
        report.write_text("<h1>report</h1>")
        tracker.finished(verdict, {"report": report}, model)
        tracker.close()
        return verdict


@pytest.fixture(scope="session")
def make_race() -> type[SmallRace]:
    return SmallRace
