"""The statistics of many sets of losses at once are those of each, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from raysearch import registry
from raysearch.criteria.summary import summaries, summarize, with_interval


def matrix(n: int, m: int, seed: int) -> np.ndarray:
    g = np.random.default_rng(seed)
    losses = g.lognormal(0, 1, (n, m))
    losses[g.random((n, m)) < 0.05] = np.inf
    losses[g.random((n, m)) < 0.03] = np.nan
    losses[:1] = np.nan
    losses[1:2] = 1.7e308  # a sum beyond all numbers
    return losses


@pytest.mark.parametrize("criterion", ["q3", "mean", "q3_plus_iqr", "cvar", "max", "std"])
@pytest.mark.parametrize(("n", "m"), [(3, 1), (9, 2), (40, 5), (40, 7), (40, 10), (40, 50), (5, 300)])
def test_each_row_is_summed_as_alone(criterion: str, n: int, m: int) -> None:
    judge = registry.load("criteria", criterion)
    with np.errstate(all="ignore"):
        for seed in range(3):
            losses = matrix(n, m, seed)
            together, alone = summaries(losses, judge), [summarize(row, judge) for row in losses]
            for one, other, row in zip(together, alone, losses, strict=True):
                if np.isnan(row).all():
                    assert one is None
                else:
                    assert repr(one) == repr(other)


def test_there_may_be_no_rows_or_nothing_run() -> None:
    q3 = registry.load("criteria", "q3")
    assert summaries(np.empty((0, 5)), q3) == []
    assert summaries(np.empty((2, 0)), q3) == [None, None]
    assert summaries(np.full((2, 3), np.nan), q3) == [None, None]


def test_the_criterion_is_asked_once_for_all_that_are_whole() -> None:
    asked, q3 = [], registry.load("criteria", "q3")

    def counting(losses: np.ndarray) -> np.ndarray:
        asked.append(losses.shape)
        return q3(losses)

    losses = np.random.default_rng(0).random((4000, 10))
    losses[7, 3] = np.nan
    summaries(losses, counting)
    assert asked == [(3999, 10), (9,)]


def test_intervals_come_where_they_are_asked_for() -> None:
    q3, losses = registry.load("criteria", "q3"), matrix(12, 4, 1)
    plain, sure = summaries(losses, q3), summaries(losses, q3, intervals=True)
    assert all(one is None or one.interval is None for one in plain)
    for one, other, row in zip(plain, sure, losses, strict=True):
        assert other == (one and with_interval(one, row, q3))
    assert sum(one is not None and one.interval is not None for one in sure) > 5
