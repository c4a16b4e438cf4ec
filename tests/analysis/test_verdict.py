import dataclasses
import math

import pytest

from raysearch.analysis import verdict
from raysearch.records import Phase


def words(results):
    return " ".join(verdict.sentences(results, verdict.spending(results), verdict.winners_interval(results)))


def test_words_hold_both_values_the_interval_the_bias_and_the_cost(race):
    results = race(72, 3, 40)
    text, ending = words(results), results.verdict
    assert f"chose configuration {ending.winner.id} among 72" in text
    assert (
        f"Over 40 fresh instances that the race never saw, its q3 is {ending.confirmation.criterion:#.4g} (95% interval"
        in text
    )
    assert f"had said {ending.race.criterion:#.4g}: {verdict.optimism(ending):.1%} " in text
    assert f"median test loss of those instances is {ending.test_median:#.4g}" in text
    assert "states no confidence" in text
    assert "cannot tell it apart from 2 other configurations" in text
    assert "325 instances (285 to race, 40 to confirm)" in text


def test_optimism_beyond_the_interval_is_called_so(race):
    results = race(72, 3, 40)
    interval = verdict.winners_interval(results)
    for value, wanted in [(interval.low * 0.9, "too optimistic"), (interval.low * 1.0001, "no more than the interval")]:
        summary = dataclasses.replace(results.verdict.race, criterion=value)
        assert wanted in words(dataclasses.replace(results, verdict=dataclasses.replace(results.verdict, race=summary)))


def test_a_race_that_was_too_pessimistic_is_not_called_optimistic(race):
    results = race(72, 3, 40)
    race_summary = dataclasses.replace(results.verdict.race, criterion=1.0)
    text = words(dataclasses.replace(results, verdict=dataclasses.replace(results.verdict, race=race_summary)))
    assert "no optimism shows" in text
    assert "too optimistic" not in text


def test_without_confirmation_the_value_is_called_likely_optimistic(race):
    results = race(72, 3, 0)
    assert "likely too optimistic, since no fresh instances confirmed it" in words(results)
    assert verdict.optimism(results.verdict) is None


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"certified": True, "probability": 0.9617, "delta": 0.01}, "Certified: P = 0.961 that it is within 1 %"),
        ({"certified": False, "probability": 0.62, "delta": 0.01}, "Not certified: P = 0.620"),
        ({"certified": True, "probability": 0.99996, "delta": 0.01}, "P = 0.999"),
        ({"certified": False, "probability": 0.0, "delta": 0.01}, "P = 0 that"),
        ({"certified": False}, "Not certified by the rule."),
        ({}, "states no confidence"),
    ],
)
def test_certainty_is_cut_and_never_invented(race, fields, text):
    assert text in verdict.certainty(dataclasses.replace(race(8, 1, 0).verdict, **fields))


def test_diverged_fresh_instances_are_told(race):
    results = race(8, 1, 40, diverge=0.3)
    n_bad = int((results.losses(results.leader, Phase.CONFIRMATION) == math.inf).sum())
    assert n_bad > 0
    assert f"{n_bad} of the 40 fresh instances diverged or failed" in words(results)


def test_an_open_race_names_a_leader_and_no_winner(race):
    text = words(race(72, 3, finish=False))
    assert "has not finished" in text
    assert "36 configurations of 72 left" in text
    assert "chose" not in text.replace("been chosen", "")


def test_number():
    values = (0.0209, math.inf, -math.inf, math.nan, None, 3)
    assert [verdict.number(value) for value in values] == ["0.02090", "+inf", "-inf", "–", "–", "3"]
