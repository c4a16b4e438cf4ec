"""What a workload may return that is no result, and blocks of which one instance is bad: nobody is hung or harmed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from races import pool_of

from raysearch import registry
from raysearch.execution.local import Local
from raysearch.execution.race_runner import RaceRunner
from raysearch.race.race import Race
from raysearch.records import Configuration, InstanceKey, InstanceResult, Status
from raysearch.tracking.silent import Silent


def workload_of(train: Any) -> Any:
    """Return a workload of `train(x, keys) -> what a workload returns`; made here, so that Ray pickles it by value."""

    class Workload:
        def prepare(self) -> None:
            return None

        def train(self, configuration: Configuration, seeds: Any, report: Any, data: Any) -> Any:
            return train(configuration.parameters["x"], [InstanceKey(configuration.id, seed) for seed in seeds])

    return Workload()


def carry_out(executor: Any, train: Any, *, n: int = 2, n_instances: int = 2, block: int = 2) -> Race:
    pool = pool_of(n)
    rule = registry.load("rules", "exhaustive", n_instances=n_instances)
    criterion = registry.load("criteria", "max")
    race = Race(lambda outcomes: [] if outcomes else pool, criterion, rule, block=block, retries=0)
    executor.run(RaceRunner(race, Silent()), workload_of(train))
    assert race.state.verdict is not None
    return race


def returns(kind: str) -> Any:
    """Return a training whose configuration 1 returns, for the first of two seeds, what is no result."""

    def train(x: int, keys: Any) -> Any:
        results = [InstanceResult(key, 1.0) for key in keys]
        if x != 1 or len(keys) == 1:
            return results
        first: dict[str, list[Any]] = {
            "too few": [],
            "nan": [InstanceResult(keys[0], math.nan)],
            "infinite": [InstanceResult(keys[0], math.inf)],
            "another's": [InstanceResult(InstanceKey("0" * 12, 5), 1.0)],
            "text": [InstanceResult(keys[0], "low")],  # type: ignore[arg-type]
            "stopped": [InstanceResult(keys[0], 1.0, Status.STOPPED)],
            "plain": [1.0],
        }
        return None if kind == "none" else [*first[kind], *results[1:]]

    return train


@pytest.mark.parametrize("kind", ["none", "too few", "nan", "infinite", "another's", "text", "stopped", "plain"])
def test_what_is_no_result_has_diverged_or_failed_and_hangs_nobody(kind: str) -> None:
    race = carry_out(Local(), returns(kind))
    assert race.state.counts[Status.DIVERGED if kind in ("nan", "infinite") else Status.FAILED] == 1 + (kind == "none")
    assert race.state.verdict.leader == 0


@pytest.mark.parametrize("kind", ["too few", "nan"])
def test_what_is_no_result_hangs_nobody_on_ray_either(kind: str, ray_cluster: None) -> None:
    from raysearch.execution.ray_tune import RayTune

    race = carry_out(RayTune(), returns(kind))
    assert race.state.counts[Status.DIVERGED if kind == "nan" else Status.FAILED] == 1


def test_one_bad_seed_of_a_block_fails_none_of_its_neighbours() -> None:
    bad: list[InstanceKey] = []

    def train(x: int, keys: Any) -> Any:
        if not bad:
            bad.append(keys[1])
        if bad[0] in keys:
            raise ValueError("this seed is bad")
        return [InstanceResult(key, 1.0) for key in keys]

    race = carry_out(Local(), train, n_instances=3, block=3)
    assert race.state.counts[Status.FAILED] == 1
    assert race.state.counts[Status.COMPLETE] == 5


def test_sys_exit_in_a_training_ends_that_training_and_not_the_search() -> None:
    def train(x: int, keys: Any) -> Any:
        if x == 1:
            raise SystemExit(3)
        return [InstanceResult(key, 1.0) for key in keys]

    assert carry_out(Local(), train, n_instances=1).state.counts[Status.FAILED] == 1
