"""Simulated clusters: how long a rule takes and how busy it keeps the workers, through `execution/replay.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from _selection_families import Array, Family
from _selection_policies import default

from raysearch import registry
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.replay import of_matrix, simulate
from raysearch.race.race import Race
from raysearch.records import Configuration
from raysearch.tracking.silent import Silent

WORKERS = (8, 64, 512)
CV = 0.3
"""Coefficient of variation of the instances' durations (lognormal, mean 1)."""


@dataclass(frozen=True)
class Run:
    """What a rule did on a simulated cluster; `makespan` in mean durations of an instance."""

    n_instances: float
    makespan: float
    utilisation: float
    is_within: float


def policies(family: Family) -> dict[str, tuple[str, dict[str, Any], bool]]:
    """Return label -> (rule, arguments, whether idle workers start likely instances ahead)."""
    budget = int(family.n_configurations * (1.18 if family.n_configurations > 1000 else 2.5))
    cap = min(100, family.n_instances)
    learning = {"surrogate": ("surrogate", {"delta": family.delta, "cap": cap}, False)} if family.has_structure else {}
    return {
        "halving, as published": ("halving", {"warmup": 5}, False),
        "halving, asking ahead": ("halving", {"warmup": 5}, True),
        "sequential_halving": ("sequential_halving", {"budget": budget}, True),
        "top_two, certified": ("top_two", {"delta": family.delta, "cap": cap}, True),
        "top_two, as search sets it": (
            "top_two",
            {**default(family.n_configurations), "delta": family.delta, "cap": cap},
            False,
        ),
        **learning,
    }


def play(
    family: Family,
    rule: str,
    arguments: dict[str, Any],
    ahead: bool,
    n_workers: int,
    replicate: int,
    of_configurations: float = 0.0,
    longest_first: bool = False,
) -> Run:
    """Race one table on `n_workers` simulated workers.

    Mean durations of configurations vary by a coefficient of variation `of_configurations`. `longest_first`: the pool,
    hence every batch, begins with the longest, as if they were known before anything is trained.
    """
    table = family.table(replicate)
    generator = np.random.default_rng([7, replicate])
    seconds = _lognormal(generator, CV, table.losses.shape)
    if of_configurations:
        mean_s = _lognormal(np.random.default_rng([8, replicate]), of_configurations, (len(seconds), 1))
        seconds = seconds * mean_s / mean_s.mean()
        if longest_first:
            order = np.argsort(-mean_s[:, 0], kind="stable")
            parameters = [table.parameters[row] for row in order] if table.parameters else ()
            table = replace(table, losses=table.losses[order], truth=table.truth[order], parameters=parameters)
            seconds = seconds[order]
    pool = [Configuration.of(one) for one in table.parameters or [{"row": row} for row in range(len(table.losses))]]
    race = Race(
        lambda outcomes: [] if outcomes else pool,
        family.measure(),
        registry.load("rules", rule, **arguments),
        ahead=ahead,
    )
    done = simulate(RaceRunner(race, Silent()), of_matrix(table.losses, seconds), n_workers)
    verdict = race.state.verdict
    if verdict is None:
        raise AssertionError("the race ended without a verdict")
    within = table.regret(verdict.leader) <= family.delta
    return Run(done.n_instances, done.makespan_s, done.utilisation, float(within))


def _lognormal(generator: np.random.Generator, cv: float, shape: tuple[int, ...]) -> Array:
    """Return durations of mean 1."""
    variance = np.log1p(cv**2)
    return generator.lognormal(-variance / 2, np.sqrt(variance), shape)


def mean(runs: list[Run]) -> Run:
    """Return the means of runs."""
    values = np.array([[r.n_instances, r.makespan, r.utilisation, r.is_within] for r in runs]).mean(axis=0)
    return Run(*(float(value) for value in values))
