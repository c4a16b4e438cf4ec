"""Statistics of losses, each with a 95 % bootstrap interval over instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from raysearch.criteria.intervals import confidence_interval
from raysearch.registry import load

Array = NDArray[np.float64]
N_RESAMPLES = 4000
FEWEST = 10
"""Instances below which a bootstrap interval is not trusted to decide anything."""
QUARTILES = {name: load("criteria", name) for name in ("median", "q3", "iqr", "std", "mean", "max")}
Q1 = load("criteria", "quantile", q=0.25)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    def against(self, bound: float, below: bool = True) -> str:
        """Return in words whether the interval lies on the promised side of a bound."""
        if self.n < FEWEST:
            return f"n = {self.n} is too few to say"
        if self.low > bound or self.high < bound:
            return "reproduced" if (self.high < bound) == below else "the opposite was seen"
        # an interval that ends at the bound, as of searches that all chose alike, decides nothing
        agrees = (self.value < bound) == below
        return f"not shown with n = {self.n}; the direction {'agrees' if agrees else 'does not agree'}"

    def tells(self, bound: float) -> str:
        """Return in words on which side of a bound the number is, where its interval tells."""
        if self.n < FEWEST:
            return f"n = {self.n} is too few to say"
        return "lower" if self.high < bound else "higher" if self.low > bound else "no difference shown"


def of_one(losses: Array, criterion: str) -> Estimate:
    """Return a criterion of the losses `(n_instances,)` of one configuration."""
    interval = confidence_interval(losses, QUARTILES[criterion], np.random.default_rng(0), n_resamples=N_RESAMPLES)
    return Estimate(float(QUARTILES[criterion](losses)), interval.low, interval.high, len(losses))


def row(losses: Array, unit: float = 1.0) -> dict[str, object]:
    """Return the columns that every table has of a group of instances: n, quartiles and the IQR with its interval."""
    shown = losses * unit
    return {
        "n": len(losses),
        "median": f"{of_one(shown, 'median')}",
        "Q1": float(Q1(shown)),
        "Q3": float(QUARTILES["q3"](shown)),
        "IQR": f"{of_one(shown, 'iqr')}",
        "max": float(shown.max()),
    }


def ratio(one: Array, other: Array, criterion: str, *, paired: bool = False) -> Estimate:
    """Return a criterion of one group over that of another, with the percentile interval of resampled groups."""
    measure = QUARTILES[criterion]
    return estimate(lambda a, b: measure(a) / measure(b), [one, other], paired=paired)


def estimate(statistic: Callable[..., Array], groups: Sequence[Array], *, paired: bool = False) -> Estimate:
    """Return a statistic of groups `(n_instances,)`, with the percentile interval of resampled groups.

    `statistic` takes `(..., n_instances)` arrays; `paired` resamples all groups by the same instances.
    """
    generator = np.random.default_rng(0)
    rows = [generator.integers(0, len(group), (N_RESAMPLES, len(group))) for group in groups]
    if paired:
        rows = [rows[0]] * len(groups)
    with np.errstate(all="ignore"):  # a resample may have no spread
        drawn = statistic(*(group[index] for group, index in zip(groups, rows, strict=True)))
        value = float(statistic(*groups))
    low, high = np.nanquantile(drawn, [0.025, 0.975], method="nearest")
    return Estimate(value, float(low), float(high), min(map(len, groups)))


def of_rows(statistic: Callable[..., float], *columns: Array) -> Estimate:
    """Return a statistic of paired columns `(n,)`, and its interval over resampled rows, one resample after another."""
    generator, n = np.random.default_rng(0), len(columns[0])
    drawn = [statistic(*(column[index] for column in columns)) for index in generator.integers(0, n, (1000, n))]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Estimate(float(statistic(*columns)), float(low), float(high), n)


def share(hits: Array) -> Estimate:
    """Return a share of hits with its Wilson interval."""
    n, p, z = len(hits), float(np.mean(hits)), 1.96
    middle, reach = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return Estimate(p, float((middle - reach) / (1 + z**2 / n)), float((middle + reach) / (1 + z**2 / n)), n)


def detectable_ratio(n: int, power: float = 0.8, level: float = 0.05) -> float:
    """Return the greatest ratio of standard deviations below 1 that an F test of `n` and `n` normal losses would find.

    With probability `power`, at the two-sided `level`.
    """
    return float(np.sqrt(stats.f.ppf(level / 2, n - 1, n - 1) / stats.f.ppf(power, n - 1, n - 1)))
