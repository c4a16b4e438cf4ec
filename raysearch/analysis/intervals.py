"""How sure a criterion is: bootstrap confidence intervals over the instances of one configuration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raysearch.criteria._statistics import as_losses, quantile

_NORMAL = NormalDist()
Statistic = Callable[[NDArray[np.float64]], Any]
"""A criterion as the analysis uses it: losses `(..., n_instances)` -> `(...)`."""


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
    level: float = 0.95,
    n_resamples: int = 4000,
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
    # a jackknife over +inf has no acceleration: inf - inf
    ends = _bca(run, criterion, generator, level, n_resamples) if np.isfinite(run).all() else None
    method = "BCa" if ends else "percentile"
    low, high = ends or _percentile(run, criterion, generator, level, n_resamples)
    return Interval(low, high, level, method, len(run), extreme)


def bounds(losses: ArrayLike, criterion: Statistic) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval, the same whenever they are asked for; None where there is none."""
    interval = confidence_interval(losses, criterion, np.random.default_rng(0))
    return (interval.low, interval.high) if interval.known else None


def _bca(
    run: NDArray[np.float64], criterion: Statistic, generator: np.random.Generator, level: float, n_resamples: int
) -> tuple[float, float] | None:
    """Return what scipy.stats.bootstrap does, to rounding: to import scipy.stats takes as long as all of a `status`."""
    n, tail = len(run), (1 - level) / 2
    with np.errstate(all="ignore"):  # degenerate resamples show as NaN, and are handled by the caller
        resampled = np.asarray(criterion(run[generator.integers(0, n, (n_resamples, n))]))
        value = np.asarray(criterion(run))
        below = (np.count_nonzero(resampled < value) + np.count_nonzero(resampled <= value)) / (2 * n_resamples)
        jackknifed = np.asarray(criterion(np.tile(run, (n, 1))[~np.eye(n, dtype=bool)].reshape(n, n - 1)))
        pulls = (n - 1) * (jackknifed.mean() - jackknifed)
        acceleration = 1 / 6 * ((pulls**3).sum() / n**3) / ((pulls**2).sum() / n**2) ** 1.5
        if not 0.0 < below < 1.0 or not math.isfinite(acceleration):
            return None
        bias = _NORMAL.inv_cdf(below)
        shifted = bias + np.array([-1.0, 1.0]) * _NORMAL.inv_cdf(1 - tail)
        shares = map(_NORMAL.cdf, (bias + shifted / (1 - acceleration * shifted)).tolist())
        low, high = (float(np.percentile(resampled, 100 * share)) for share in shares)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _percentile(
    run: NDArray[np.float64], criterion: Statistic, generator: np.random.Generator, level: float, n_resamples: int
) -> tuple[float, float]:
    resamples = generator.choice(run, size=(n_resamples, len(run)))
    tail = (1 - level) / 2
    with np.errstate(over="ignore", invalid="ignore"):  # losses at the ends of floating point
        values = np.asarray(criterion(resamples))
        return float(quantile(values, tail)), float(quantile(values, 1 - tail))
