"""One race, three executors: the same losses give the same decisions."""

import math

import pytest

from raysearch.execution.local import Local
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.replay import simulate
from raysearch.race.race import Race
from raysearch.race.state import State
from raysearch.records import Configuration, InstanceKey, InstanceResult
from raysearch.registry import load
from raysearch.tracking.silent import Silent
from raysearch.workloads.synthetic import Synthetic

WORKLOAD = Synthetic(epochs=2)
POOL = [
    Configuration.of({"level": level, "spread": spread, "diverging": diverging})
    for level in (0.2, 0.22, 0.25)
    for spread in (0.01, 0.03)
    for diverging in (0.0, 0.3)
]


def make_runner(rule: str = "halving", ahead: bool = False) -> RaceRunner:
    rules = {"halving": {"warmup": 2}, "exhaustive": {"n_instances": 3}}
    race = Race(
        lambda outcomes: [] if outcomes else POOL,
        load("criteria", "q3"),
        load("rules", rule, **rules[rule]),
        seed=3,
        confirm=4,
        ahead=ahead,
    )
    return RaceRunner(race, Silent())


def outcome(runner: RaceRunner) -> tuple[object, ...]:
    """Everything that must not depend on the executor: cuts, verdict, and every loss the race counted."""
    state = runner.race.state
    cut = list(state.eliminations)
    losses = {o.configuration.id: o.losses for o in state.pool.outcomes()}
    return cut, state.verdict, losses, {index: result.loss for index, result in state.confirmation.items()}


def trained(state: State, key: InstanceKey) -> InstanceResult:
    result = WORKLOAD.train(state.configuration(key.configuration_id), [key.seed], lambda epoch, loss: None, None)[0]
    return InstanceResult.of(key, result.loss, seconds=1.0 + key.seed % 7)


@pytest.fixture(scope="module")
def by_hand() -> tuple[object, ...]:
    runner = make_runner()
    Local().run(runner, WORKLOAD)
    return outcome(runner)


@pytest.mark.parametrize("n_workers", [1, 3, 64])
def test_replay_decides_as_local_does(by_hand: tuple[object, ...], n_workers: int) -> None:
    runner = make_runner()
    simulation = simulate(runner, trained, n_workers)
    assert outcome(runner) == by_hand
    assert simulation.n_instances == runner.race.rule.plan(len(POOL))[0] + 4


def test_asking_ahead_changes_no_decision(by_hand: tuple[object, ...]) -> None:
    runner = make_runner(ahead=True)
    simulate(runner, trained, 64)
    cut, verdict, _, confirmed = outcome(runner)
    assert (cut, verdict, confirmed) == (by_hand[0], by_hand[1], by_hand[3])


def test_ray_tune_decides_as_local_does(by_hand: tuple[object, ...], ray_cluster: None) -> None:
    from raysearch.execution.ray_tune import RayTune

    runner = make_runner()
    RayTune().run(runner, WORKLOAD)
    assert outcome(runner) == by_hand


def test_some_instances_of_the_table_diverge(by_hand: tuple[object, ...]) -> None:
    losses = by_hand[2]
    assert isinstance(losses, dict)
    assert any(math.isinf(loss) for row in losses.values() for loss in row)
