"""What a race in waves will come to, said from its first wave on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from races import make_race, once, pool_of, result_of, trials

from raysearch.race.verdict import progress
from raysearch.records import Configuration, Outcome

N, WAVE = 24, 8
LOSSES = np.random.default_rng(0).normal(size=(N, 200)) + np.linspace(3, 0, N)[:, None]


def in_waves(outcomes: Sequence[Outcome]) -> list[Configuration]:
    return pool_of(N)[len(outcomes) : len(outcomes) + WAVE]


def moments(race: Any) -> list[Any]:
    """Carry a race out one by one; return what progress said before each instance, and at the end."""
    said = [progress(race, 1.0)]
    while answer := trials(race):
        said.append(progress(race, 1.0))
        race.tell(result_of(race, answer[0].keys[0], LOSSES))
    said.append(progress(race, 1.0))
    return said


@pytest.mark.parametrize(
    ("rule", "tolerance"),
    [
        (("halving", {"warmup": 2}), 0.1),
        (("halving", {"warmup": 5}), 0.1),
        (("exhaustive", {"n_instances": 4}), 0.0),
        (("significance", {}), 1.0),
        (("top_two", {"batch": 4, "cap": 20}), 1.0),
    ],
    ids=lambda value: str(value),
)
def test_instances_of_all_waves_are_expected_from_the_first_on(rule: Any, tolerance: float) -> None:
    said = moments(make_race(LOSSES, rule=rule, propose=in_waves, confirm=5, n_configurations=N))
    total = said[-1].n_finished
    assert said[-1].n_expected == total
    assert said[-1].remaining_s == 0
    for moment in said:
        assert moment.n_finished <= moment.n_expected
        assert abs(moment.n_expected - total) <= tolerance * total, (moment, total)
    assert said[1].n_expected >= N + 5, "at least one of each, and the confirmation"


def test_a_pool_that_comes_at_once_is_expected_as_before() -> None:
    for n in (None, N):
        said = moments(make_race(LOSSES, propose=once(pool_of(N)), confirm=5, n_configurations=n))
        assert {moment.n_expected for moment in said[1:]} == {said[-1].n_finished}


def test_a_sampler_that_proposes_less_than_it_may_leaves_nothing_to_wait_for() -> None:
    said = moments(make_race(LOSSES, propose=in_waves, confirm=5, n_configurations=10 * N))
    assert said[-1].n_expected == said[-1].n_finished
