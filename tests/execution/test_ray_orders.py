"""Searcher and scheduler in the orders in which Tune calls them, recorded, permuted and faulty, without a cluster.

The orders come from real searches (tests/record_ray_orders.py); worlds call in such orders (tests/world/tune.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from world.tune import Controller, TuneWorkers
from world.world import World

from raysearch.execution import ray_scheduler, ray_tune_internals
from raysearch.execution.ray_scheduler import RaceScheduler
from raysearch.execution.ray_searcher import RaceSearcher

N_WORLDS = 160
CALLS = {
    ("RaceSearcher.suggest", False): "suggest",
    ("RaceSearcher.on_trial_complete", False): "completed",
    ("RaceSearcher.on_trial_complete", True): "failed",
    ("RaceScheduler.on_trial_add", False): "add",
    ("RaceScheduler.on_trial_result", False): "result",
    ("RaceScheduler.on_trial_complete", False): "complete",
    ("RaceScheduler.on_trial_error", False): "error",
    ("RaceScheduler.on_trial_remove", False): "remove",
}
Patch = Callable[[Any, str, Any], None]


class InTune(World):
    """A world whose races Tune carries out."""

    workers = TuneWorkers


@pytest.fixture(scope="module", autouse=True)
def _mlflow_is_imported() -> None:
    import mlflow  # noqa: F401 - its import alone opens what a pure test may not


def recorded() -> set[tuple[str, ...]]:
    """Return the orders of calls about one trial that were seen, each in a row once."""
    seen: set[tuple[str, ...]] = set()
    path = Path(__file__).parents[1] / "data" / "ray_orders.json"
    for calls in json.loads(path.read_text())["orders"].values():
        of_trial: dict[int, list[str]] = {}
        for name, number, said in calls:
            call = CALLS.get((name, bool(said)))  # the searcher hears results after the scheduler
            mine = of_trial.setdefault(number, [])
            if call is not None and mine[-1:] != [call]:
                mine.append(call)
        seen |= set(map(tuple, of_trial.values()))
    return seen


@pytest.mark.mlflow
def test_no_order_of_calls_loses_an_instance_or_hangs() -> None:
    told: Counter[str] = Counter()
    orders: Counter[tuple[str, ...]] = Counter()
    for seed in range(N_WORLDS):
        world = InTune(seed)
        try:
            told += world.run()
        except Exception as error:
            pytest.fail(f"world {seed} in Tune: {error!r}")
        orders += world.orders
    assert told["worlds"] == N_WORLDS
    assert told["compared"] > N_WORLDS / 2
    assert recorded() <= set(orders), "a real Tune calls in an order that no world has"
    # what was never seen live is read in TuneController.stop_trial: a trial that never ran, or died at its start
    assert set(orders) - recorded() <= {
        ("suggest", "add", "remove", "completed"),
        ("suggest", "add", "error", "failed"),
    }
    assert min(orders.values()) > 2


def deaths_are_not_told(patch: Patch) -> None:
    original = RaceSearcher.on_trial_complete

    def on_trial_complete(self: Any, trial_id: str, result: Any = None, error: bool = False) -> None:
        if not error:
            original(self, trial_id, result, error)

    patch(RaceSearcher, "on_trial_complete", on_trial_complete)


def trials_that_never_ran_are_not_told(patch: Patch) -> None:
    original = Controller.stop_trial

    def stop_trial(self: Any, trial: Any) -> None:
        if trial.status == "PENDING":
            trial.status = "ENDED"
        original(self, trial)

    patch(Controller, "stop_trial", stop_trial)


def memory_kills_end_the_tuner(patch: Patch) -> None:
    patch(ray_tune_internals, "take_memory_kills_as_deaths", lambda controller, reasons: None)


def a_failure_is_forgotten(patch: Patch) -> None:
    def _tell(self: Any, pack: Any, result: Any, curve: Any) -> Any:
        if ray_scheduler.FAILURE in result:
            return []
        return self.runner.complete(pack, result.get(ray_scheduler.RESULTS), "", result.get(ray_scheduler.SCREENED, ()))

    patch(RaceScheduler, "_tell", _tell)


@pytest.mark.mlflow
@pytest.mark.parametrize(
    "plant",
    [deaths_are_not_told, trials_that_never_ran_are_not_told, memory_kills_end_the_tuner, a_failure_is_forgotten],
)
def test_a_planted_bug_is_found(plant: Callable[[Patch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch.setattr)
    for seed in range(N_WORLDS):
        try:
            InTune(seed).run()
        except Exception:
            return
    pytest.fail("no world finds it")
