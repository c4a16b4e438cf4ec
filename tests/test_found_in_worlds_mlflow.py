"""Defects of what MLflow shows that worlds found, each as a plain test; the seed is that of the world at that time."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from world.machine import Clock, Fuse, Killed

from raysearch.records import Configuration, InstanceKey, InstanceResult, Phase, Status


def store_and_search() -> Any:
    from world.store import Store, Tracked

    store = Store(Fuse(), random.Random(0), Clock())

    def search() -> Any:
        runs, existed = Tracked.on(store)._reach("x", Path())
        from raysearch.tracking._mlflow_search import Search

        if existed:
            runs.recall()
        return Search(runs, curves=False)

    return store, search


ONE = Configuration.of({"x": 1})
FAILED = InstanceResult(InstanceKey(ONE.id, 5), float("inf"), Status.FAILED, error="crash", attempt=3, node="a")
RETRIED = replace(FAILED, loss=0.5, status=Status.COMPLETE, error="", attempt=1, node="b")


def shown(store: Any) -> tuple[Any, ...]:
    (run_,) = store.image()[ONE.id, "5"]
    tags, metrics = run_["tags"], run_["metrics"]
    return tags["status"], tags.get("error"), metrics["final_loss"], metrics["attempt"], run_["status"]


@pytest.mark.mlflow
@pytest.mark.parametrize("later_ms", [10, -1000])  # worlds 12 and 185: the clock was set back
def test_a_retried_success_shows_its_own_attempt_and_loss_whatever_the_clock_did(later_ms: int) -> None:
    store, search = store_and_search()
    writing = search()
    writing.instance(ONE, FAILED, Phase.RACE, 10_000, None)
    writing.instance(ONE, RETRIED, Phase.RACE, 10_000 + later_ms, None)
    assert shown(store) == ("COMPLETE", None, "0.5", "1.0", "FINISHED")


@pytest.mark.mlflow
@pytest.mark.parametrize("later_ms", [10, -1000])
def test_a_run_that_a_dying_driver_took_up_is_not_taken_for_written(later_ms: int) -> None:  # world 506
    store, search = store_and_search()
    search().instance(ONE, FAILED, Phase.RACE, 10_000, None)
    (run_,) = (one for one in store.runs.values() if one.data.tags.get("raysearch.seed"))
    store.update_run(run_.info.run_id, "RUNNING")  # and died
    search().instance(ONE, RETRIED, Phase.RACE, 10_000 + later_ms, None)
    assert shown(store) == ("COMPLETE", None, "0.5", "1.0", "FINISHED")


@pytest.mark.mlflow
def test_a_run_that_was_made_and_never_written_shows_the_try_that_came_after() -> None:  # world 488
    store, search = store_and_search()
    log = store.log_batch

    def die(run_id: str, *rest: Any) -> None:
        if store.runs[run_id].data.tags["kind"] == "instance":
            raise Killed
        log(run_id, *rest)

    store.log_batch = die
    with pytest.raises(Killed):
        search().instance(ONE, FAILED, Phase.RACE, 10_000, None)
    store.log_batch = log
    search().instance(ONE, RETRIED, Phase.RACE, 20_000, None)
    assert shown(store) == ("COMPLETE", None, "0.5", "1.0", "FINISHED")


@pytest.mark.mlflow
def test_a_correction_is_shown_although_the_clock_was_set_back() -> None:  # world 185
    store, search = store_and_search()
    writing = search()
    writing.configuration(ONE, 0)
    writing.measure(ONE, None, {"curvature.v": 1.0}, 10_000)
    writing.measure(ONE, None, {"curvature.v": 2.0}, 5_000)
    assert store.image()[ONE.id, None][0]["metrics"]["curvature.v"] == "2.0"
