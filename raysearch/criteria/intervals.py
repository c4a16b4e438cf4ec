"""How sure a criterion is: bootstrap confidence intervals over the instances of one configuration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysearch.criteria._statistics import as_losses

_NORMAL = NormalDist()
_LEVEL, _N_RESAMPLES = 0.95, 4000
_FEW = 8
"""Losses of which so few make most resamples equal to another one."""
_NUMBERS_AT_ONCE = 2**20
Statistic = Callable[[NDArray[np.float64]], Any]
"""A criterion, or what is called like one: losses `(..., n_instances)` -> `(...)`."""


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval of a criterion. `method` is `BCa`, `percentile` or `none` (too few instances).

    `extreme`: the criterion is the best or worst loss itself, and resampling cannot see beyond what was seen, so the
    interval is too narrow on that side.
    """

    low: float
    high: float
    level: float
    method: str
    n_instances: int
    extreme: bool = False

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return self.method != "none"


def confidence_interval(
    losses: ArrayLike,
    criterion: Statistic,
    generator: np.random.Generator,
    *,
    level: float = _LEVEL,
    n_resamples: int = _N_RESAMPLES,
) -> Interval:
    """Return the bootstrap interval of `criterion` over `losses` `(n_instances,)`, NaN = not run, +inf = diverged.

    Bias-corrected and accelerated where that is defined; the plain percentile interval where instances diverged or the
    resamples are degenerate. Fewer than two instances give (NaN, NaN). The ends may be +inf. It says how the criterion
    would vary with other seeds of the same configuration; for losses that *chose* the configuration it is biased.
    Raises ValueError unless 0 < level < 1 and n_resamples >= 100.
    Source: Efron 1987 (BCa); scipy.stats.bootstrap.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    if n_resamples < 100:
        raise ValueError(f"n_resamples must be at least 100, got {n_resamples}")
    run = np.sort(as_losses(losses))  # so that the order in which instances ended changes nothing
    run = run[~np.isnan(run)]
    if len(run) < 2:
        return Interval(math.nan, math.nan, level, "none", len(run))
    value = float(criterion(run))
    extreme = bool(run.min() < run.max() and value in (run.min(), run.max()))
    drawn = _Resamples.of(len(run), n_resamples, generator)
    ((low, high, corrected),) = _intervals(run[None], criterion, drawn, level)
    return Interval(low, high, level, "BCa" if corrected else "percentile", len(run), extreme)


def bounds(losses: ArrayLike, criterion: Statistic) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval, the same whenever they are asked for; None where there is none."""
    return all_bounds(as_losses(losses)[None], criterion)[0]


def all_bounds(losses: NDArray[np.float64], criterion: Statistic) -> list[tuple[float, float] | None]:
    """Return the same of each row of `losses` `(n_configurations, n_instances)`, in a tenth of the time for few."""
    found: list[tuple[float, float] | None] = [None] * len(losses)
    runs = np.sort(losses, axis=1)  # NaN behind +inf
    n_run = (~np.isnan(runs)).sum(axis=1)
    for n in np.unique(n_run[n_run > 1]).tolist():
        drawn = _Resamples.of(n, _N_RESAMPLES, np.random.default_rng(0))
        at_once = max(1, _NUMBERS_AT_ONCE // drawn.rows.size)
        rows = np.flatnonzero(n_run == n)
        for some in (rows[i : i + at_once] for i in range(0, len(rows), at_once)):
            ends = _intervals(runs[some, :n], criterion, drawn, _LEVEL)
            for row, (low, high, _) in zip(some.tolist(), ends, strict=True):
                found[row] = low, high
    return found


@dataclass(frozen=True)
class _Resamples:
    """Which losses of a sorted set are in each resample, `rows` `(n_different, n)`, and how often it was drawn."""

    rows: NDArray[np.intp]
    times: NDArray[np.intp]

    @classmethod
    def of(cls, n: int, n_resamples: int, generator: np.random.Generator) -> _Resamples:
        """Draw them, those that are equal but for their order once."""
        drawn = generator.integers(0, n, (n_resamples, n))
        if n > _FEW:
            return cls(drawn, np.ones(n_resamples, dtype=np.intp))
        drawn.sort(axis=1)
        _, first, times = np.unique(drawn @ n ** np.arange(n), return_index=True, return_counts=True)
        return cls(drawn[first], times)


def _intervals(
    runs: NDArray[np.float64], criterion: Statistic, drawn: _Resamples, level: float
) -> list[tuple[float, float, bool]]:
    """Return low, high and whether they are BCa's, of each of the sorted `runs` `(n_runs, n)` without NaN.

    What scipy.stats.bootstrap does, to rounding: to import scipy.stats takes as long as all of a `status`.
    """
    with np.errstate(all="ignore"):  # degenerate resamples show as NaN; losses may be at the ends of floating point
        resampled = np.asarray(criterion(np.take(runs, drawn.rows, axis=1)), dtype=np.float64)
        plain = np.tile([(1 - level) / 2, (1 + level) / 2], (len(runs), 1))
        shares = _corrected(runs, criterion, resampled, drawn, plain)
        corrected = np.isfinite(shares[:, 0] + shares[:, 1])
        order = resampled.argsort(axis=1)
        values = np.take_along_axis(resampled, order, axis=1)
        times = np.where(np.isnan(values), 0, drawn.times[order]).cumsum(axis=1)
        ends = _quantiles(values, times, np.where(corrected[:, None], shares, plain))
        if (lost := corrected & ~np.isfinite(ends).all(axis=1)).any():
            ends[lost], corrected[lost] = _quantiles(values[lost], times[lost], plain[lost]), False
    return list(zip(*ends.T.tolist(), corrected.tolist(), strict=True))


def _corrected(
    runs: NDArray[np.float64],
    criterion: Statistic,
    resampled: NDArray[np.float64],
    drawn: _Resamples,
    plain: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return `plain` shares `(n_runs, 2)` with bias and acceleration taken out; NaN where these are not defined."""
    n, n_drawn = runs.shape[1], drawn.times.sum()
    value = np.asarray(criterion(runs), dtype=np.float64)[:, None]
    below = ((resampled < value) @ drawn.times + (resampled <= value) @ drawn.times) / (2 * n_drawn)
    others = np.tile(np.arange(n), (n, 1))[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    jackknifed = np.asarray(criterion(np.take(runs, others, axis=1)), dtype=np.float64)
    pulls = (n - 1) * (jackknifed.mean(axis=1, keepdims=True) - jackknifed)
    acceleration = 1 / 6 * ((pulls**3).sum(axis=1) / n**3) / ((pulls**2).sum(axis=1) / n**2) ** 1.5
    # a jackknife over +inf has no acceleration: inf - inf
    known: NDArray[np.bool_] = np.isfinite(runs).all(axis=1) & (below > 0) & (below < 1) & np.isfinite(acceleration)
    bias = np.array(
        [_NORMAL.inv_cdf(one) if is_known else math.nan for one, is_known in zip(below, known, strict=True)]
    )
    shifted = bias[:, None] + np.array([_NORMAL.inv_cdf(share) for share in plain[0].tolist()])
    at = bias[:, None] + shifted / (1 - acceleration[:, None] * shifted)
    return np.array([[_NORMAL.cdf(one) for one in row] for row in at.tolist()])


def _quantiles(
    values: NDArray[np.float64], times: NDArray[np.intp], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return quantiles `(n_runs, 2)` of sorted `values`, of which as many as `times` says are no greater than each."""
    n = times[:, -1:]
    last = np.maximum(n - 1, 0)
    position = shares * last
    low = position.astype(np.intp)
    first, second = ((times[:, None, :] <= which[:, :, None]).sum(axis=2) for which in (low, np.minimum(low + 1, last)))
    below, above = (np.take_along_axis(values, np.minimum(at, values.shape[1] - 1), axis=1) for at in (first, second))
    weight = position - low
    found = np.where(weight == 0, below, below + weight * (above - below))
    return np.where(n == 0, np.nan, np.where((above == np.inf) & (weight > 0), np.inf, found))
