"""What a criterion of few instances is worth: its small-sample bias and standard error under a normal."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion

Array = NDArray[np.float64]
N_JUDGED, SKEW, TAIL = 20, 0.5, 0.1
"""Instances, and g and h of Tukey's noise, by which it is judged whether a criterion's claims could be trusted."""
LARGEST_RATIO, LARGEST_SHARE, LARGEST_FALL = 1.25, 1.0, 0.05
"""Beyond these no claim is borne: error under that noise over the normal's; a normal's value, and by how much few
instances exceed it, both in standard deviations."""
N_DRAWS = 4000
"""Draws behind each entry; they come in pairs z, -z, so that the mean's bias is exactly 0."""


@dataclass(frozen=True, eq=False)
class SmallSamples:
    """Of a criterion of n standard normal instances, n = 0 ... cap: `bias` to add, `error` its standard error.

    The bias is against `cap` instances, so that criteria with no limit (max, min) have one too. `n_least` is the first
    n with a finite criterion. `breakdown` is the share of diverged instances that makes the criterion infinite.
    `follows` is by how much the criterion rises when all losses rise by 1: 1 for a level, 0 for a width.
    `claims` tells whether a confidence can be stated for the criterion at all: see `_bears_claims`.
    """

    bias: Array
    error: Array
    n_least: int
    breakdown: float
    follows: float
    claims: bool


def small_samples(criterion: Criterion, cap: int) -> SmallSamples:
    """Return the table of `criterion` up to `cap` instances; made once for every hashable criterion."""
    if isinstance(criterion, Hashable):
        return _kept(criterion, cap)
    return _tabulate(criterion, cap)


def _tabulate(criterion: Criterion, cap: int) -> SmallSamples:
    half = np.random.default_rng(20250617).standard_normal((N_DRAWS // 2, cap))
    draws = np.concatenate([half, -half])
    sizes = sorted({*range(1, min(cap, 12) + 1), *np.geomspace(12, max(cap, 12), 12).astype(int).tolist()} | {cap})
    sizes = [n for n in sizes if n <= cap]
    values = [np.asarray(criterion(draws[:, :n]), dtype=np.float64) for n in sizes]
    usable = [i for i, value in enumerate(values) if np.isfinite(value).all()]
    if not usable:
        raise ValueError(f"criterion {criterion} is not finite for {cap} instances: a rule cannot steer by it")
    n = np.array([sizes[i] for i in usable])
    middle = np.array([values[i].mean() for i in usable])
    spread = np.array([values[i].std() for i in usable]) * np.sqrt(n)  # nearly constant in n: safe to interpolate
    grid = np.arange(cap + 1)
    error = np.interp(grid, n, spread) / np.sqrt(np.maximum(grid, 1))
    bias = middle[-1] - np.interp(grid, n, middle)
    some = draws[0, : sizes[usable[-1]]]
    follows = float(np.clip(criterion(some + 1.0) - criterion(some), 0.0, 1.0))
    return SmallSamples(bias, error, int(n[0]), _breakdown(criterion), follows, _bears_claims(criterion, int(n[0])))


@lru_cache(maxsize=32)
def _kept(criterion: Any, cap: int) -> SmallSamples:
    return _tabulate(criterion, cap)


def _bears_claims(criterion: Criterion, n_least: int) -> bool:
    """Return whether normal errors hold for a criterion of real losses, which are skewed and have tails.

    They do not where skewed noise of equal standard deviation makes the criterion much less certain (cvar, max, std),
    nor where it rests on the spread itself (q3_plus_iqr, iqr): lucky rows look steady then, and so look better twice.
    Nor where few instances give too great a value (min, low quantiles): wide rows are given up before their spread is
    known. Of claims of .95 that such criteria were given, 10 to 80 % were wrong (benchmarks/selection.py,
    certificates). Judged by the same draws whatever the rule's `cap`.
    """
    half = np.random.default_rng(20261126).standard_normal((N_DRAWS // 2, N_JUDGED))
    z = np.concatenate([half, -half])
    noise = np.expm1(SKEW * z) / SKEW * np.exp(0.5 * TAIL * z**2)
    noise = (noise - noise.mean()) / noise.std()
    few, usual, skewed = (
        np.asarray(criterion(draws), dtype=np.float64) for draws in (z[:, : max(n_least, 2)], z, noise)
    )
    if not all(np.isfinite(values).all() for values in (few, usual, skewed)):
        return False
    steady = skewed.std() <= LARGEST_RATIO * usual.std() and abs(usual.mean()) <= LARGEST_SHARE
    return bool(steady and few.mean() - usual.mean() <= LARGEST_FALL)


def _breakdown(criterion: Criterion, n: int = 401) -> float:
    """Return the least share of infinite losses among `n` that makes the criterion infinite (0: a single one does)."""
    losses = np.linspace(0.0, 1.0, n)
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        sick = losses.copy()
        sick[:middle] = np.inf
        low, high = (middle, high) if np.isfinite(criterion(sick)) else (low, middle)
    return low / (n - 1)
