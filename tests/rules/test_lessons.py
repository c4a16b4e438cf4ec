"""What earlier searches teach the surrogate: their rows below the matrix, their columns beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raysearch import registry
from raysearch.rules._lessons import Lesson, Lessons

NAN, INF = np.nan, np.inf
OWN = [{"x": 1}, {"x": 2}, {"x": 3}]


def test_a_lesson_of_the_same_seed_fills_the_columns_of_its_rows() -> None:
    lesson = Lesson([{"x": 3}, {"x": 9}], np.array([[3.0, INF], [9.0, NAN]]), alike=True, shared=True)
    encoding, lessons = Lessons.of(OWN, [lesson], 0)
    assert len(encoding) == 4
    found = lessons.beside(np.array([[1.0], [NAN], [NAN]]))
    np.testing.assert_array_equal(found[:, :2], [[1.0, NAN], [NAN, NAN], [3.0, INF], [9.0, NAN]])
    assert np.isnan(found[:, 2:]).all()


def test_a_lesson_of_another_seed_has_columns_of_its_own() -> None:
    lesson = Lesson([{"x": 3}], np.array([[3.5]]), alike=True)
    _, lessons = Lessons.of(OWN, [lesson, lesson], 0)
    found = lessons.beside(np.array([[1.0], [2.0], [3.0]]))
    np.testing.assert_array_equal(found, [[1.0, NAN, NAN], [2.0, NAN, NAN], [3.0, 3.5, 3.5]])


def test_losses_on_another_scale_wait_for_some_of_ones_own_and_are_brought_to_their_middle() -> None:
    configurations = [{"x": x} for x in range(12)]
    other = np.linspace(10.0, 21.0, 12)[:, None]
    encoding, lessons = Lessons.of(configurations, [Lesson(configurations, other, alike=False)], 0)
    assert len(encoding) == 24
    plain, _ = Lessons.of(configurations, [], 0)
    assert encoding.main.shape[1] == plain.main.shape[1] + 1  # they may differ as a whole
    own = np.full((12, 1), NAN)
    own[:7, 0] = 1.0
    assert np.isnan(lessons.beside(own)[12:]).all()
    own[:9, 0] = np.linspace(1.0, 3.0, 9)
    moved = lessons.beside(own)[12:, 1]
    assert np.median(moved) == pytest.approx(2.0)
    np.testing.assert_allclose(moved, other[:, 0] * 2.0 / 15.5)
    with_negative = lessons.beside(own - 2.5)[12:, 1]
    np.testing.assert_allclose(with_negative, other[:, 0] - 15.5 - 0.5)


def test_without_lessons_nothing_changes() -> None:
    losses = np.ones((3, 2))
    encoding, lessons = Lessons.of(OWN, [], 0)
    assert lessons.beside(losses) is losses
    assert len(encoding) == 3
    assert lessons.start(64) == 64


@pytest.mark.parametrize("alike", [True, False])
def test_taught_it_finds_as_good_a_configuration_with_fewer_trainings(alike: bool) -> None:
    generator = np.random.default_rng(1)
    configurations = [{"a": a, "b": b, "c": c} for a in range(8) for b in range(8) for c in range(5)]
    truth = np.array([1 + 0.1 * ((o["a"] - 2) ** 2 + (o["b"] - 5) ** 2) + 0.05 * o["c"] for o in configurations])
    losses = truth[:, None] * np.exp(0.02 * generator.standard_normal((len(truth), 60)))
    earlier = (1.0 if alike else 3.0) * truth * np.exp(0.02 * generator.standard_normal(len(truth)))
    known = generator.choice(len(truth), 80, replace=False)
    lesson = Lesson([configurations[row] for row in known], earlier[known, None], alike=alike)
    rule = registry.load("rules", "surrogate")
    alone, taught = (played(rule.informed(configurations, 0, some), losses) for some in ((), (lesson,)))
    assert truth[taught[0]] <= truth.min() * 1.06
    assert taught[1] <= alone[1] - (60 if alike else 15)


def played(rule: Any, losses: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Return the row that a rule chooses on one worker, and how many instances it trained."""
    seen, started = np.full_like(losses, NAN), np.zeros(len(losses), dtype=np.intp)
    criterion, idle = registry.load("criteria", "median"), np.zeros(len(losses), dtype=np.intp)
    while True:
        decision = rule.decide(seen[:, : max(int(started.max()), 1)], idle, criterion)
        if decision.verdict is not None:
            return decision.verdict.leader, int(started.sum())
        for row in decision.train:
            seen[row, started[row]] = losses[row, started[row]]
            started[row] += 1
