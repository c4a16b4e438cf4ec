"""The window: decisions depend on its width alone, and workers do not wait for a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from races import Memory, drive, image, make_race, pool_of, result_of, trials

from raysearch import registry
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.replay import Simulation, of_matrix, simulate
from raysearch.race.race import Race
from raysearch.tracking.silent import Silent

N = 16
LOSSES = 1 + np.random.default_rng(0).normal(0, 0.03, (N, 1)) + np.random.default_rng(1).normal(0, 0.08, (N, 130))


def simulated(rule: dict[str, Any], n_workers: int, durations: int = 0) -> tuple[Race, Simulation]:
    """Carry a race out on simulated workers whose instances take lognormal times (coefficient of variation .3)."""
    pool = pool_of(N)
    rule = {"certify": 10, "cap": 100, **rule}
    race = Race(
        lambda outcomes: [] if outcomes else pool,
        registry.load("criteria", "median"),
        registry.load("rules", "top_two", **rule),
        confirm=3,
    )
    seconds = np.random.default_rng(durations).lognormal(0, 0.29, LOSSES.shape)
    return race, simulate(RaceRunner(race, Silent()), of_matrix(LOSSES, seconds), n_workers)


def said(race: Race) -> Any:
    losses = [race.state.pool.judged_losses(row).tolist() for row in range(N)]
    return (
        race.state.verdict,
        race.state.eliminations,
        np.nan_to_num(losses[race.state.verdict.leader], nan=-1).tolist(),
    )


@pytest.mark.parametrize("window", [1, 8])
def test_decisions_depend_on_the_window_alone(window: int) -> None:
    first, _ = simulated({"window": window}, 1)
    for n_workers, durations in ((3, 1), (64, 2)):
        other, _ = simulated({"window": window}, n_workers, durations)
        assert said(other) == said(first)
        n = min(len(first.state.asked), len(other.state.asked))
        assert other.state.asked[:n] == first.state.asked[:n], "asked for in another order"
        assert abs(len(first.state.asked) - len(other.state.asked)) <= window


def test_without_a_window_decisions_depend_on_who_comes_first() -> None:
    assert len({repr(said(simulated({"window": None}, 8, durations)[0])) for durations in range(3)}) > 1


def test_workers_do_not_wait_for_a_batch() -> None:
    _, batches = simulated({"batch": 8}, 8)
    _, window = simulated({"window": "auto"}, 8)
    assert window.utilisation > 0.85 > batches.utilisation + 0.1


def test_the_width_is_taken_from_the_slots_once_and_kept() -> None:
    journal = Memory()
    rule = ("top_two", {"certify": 10, "cap": 40})
    race = make_race(LOSSES, rule=rule, journal=journal)
    race.begin(4)
    for _ in range(60):
        for block in trials(race):
            race.tell(result_of(race, block.keys[0], LOSSES))
    later = make_race(LOSSES, rule=rule, journal=journal)
    later.replay(journal.entries)
    later.begin(64)
    assert later.state.window == 8
    assert image(later) == image(race)
    drive(later, LOSSES, n_workers=64)
    alone = make_race(LOSSES, rule=("top_two", {"certify": 10, "cap": 40, "window": 8}))
    alone.begin(1)
    drive(alone, LOSSES)
    assert said(later) == said(alone)


def test_batches_and_asking_ahead_have_no_window() -> None:
    for rule, settings in ((("top_two", {"batch": 4}), {}), (("top_two", {}), {"ahead": True}), (("halving", {}), {})):
        race = make_race(LOSSES, rule=rule, **settings)
        assert race.begin(8) == []
        assert race.state.window == 0
