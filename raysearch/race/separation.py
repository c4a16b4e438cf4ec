"""Which of several configurations the same fresh instances tell from the best of them, at a stated error rate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion

ALPHA = 0.05
"""At most so often the best of the finalists is taken out before its last instance."""
FIRST, LEAST = 25, 20
"""Instances each at the first look; below so many nobody is told from anybody."""
N_RESAMPLES = 1000


def looks(n_instances: int) -> tuple[int, ...]:
    """Return after how many instances each finalists are compared: 25, 50, 100 ..., and at the end."""
    n_doublings = max(math.ceil(math.log2(n_instances / FIRST)), 0) if n_instances > 0 else 0
    return (*(FIRST * 2**k for k in range(n_doublings)), n_instances)


def p_values(
    losses: NDArray[np.float64], criterion: Criterion, generator: np.random.Generator, n_resamples: int = N_RESAMPLES
) -> NDArray[np.float64]:
    """Return how likely each row of `losses` `(n_rows, n_instances)` is no worse than the best one, `(n_rows,)`.

    Columns are paired: same seed, same sample. One-sided t-test of the difference of the criteria, its standard error
    that of a bootstrap over columns, both rows resampled together. The t-distribution has sqrt(n_instances) degrees of
    freedom: the bootstrap's standard error of a quantile is itself uncertain by about n^(-1/4), that of a mean by less.
    1 for the best row, and where nothing can be told: fewer than 20 instances, a criterion that is not finite in some
    resample, or one that a single loss moves by more than half of its standard error (the maximum; cvar of few). Taken
    at `ALPHA` divided by rivals and looks (Bonferroni), the best one of eight is taken out in at most .05 of races,
    also where all eight are equally good and it has a tenth of their spread: `tests/test_separation.py` measures it.
    Source: Efron & Tibshirani 1993, chapters 6 and 12; Hall & Martin 1988 for the n^(-1/4); Dunn 1961.
    """
    from scipy.special import stdtr

    n_rows, n = losses.shape
    values = np.asarray(criterion(losses), dtype=float)
    best = leader(losses, criterion)
    if n < LEAST or n_rows < 2 or not np.isfinite(values[best]):
        return np.ones(n_rows)
    columns = generator.integers(0, n, (n_resamples, n))
    with np.errstate(all="ignore"):
        resampled = np.stack([np.asarray(criterion(row[columns]), dtype=float) for row in losses])
        error = (resampled - resampled[best]).std(axis=1, ddof=1) * math.sqrt(n / (n - 1))
        known = np.isfinite(resampled).all(axis=1) & ~_hangs_on_one(losses, values, resampled.std(axis=1), criterion)
        p = stdtr(math.sqrt(n), -(values - values[best]) / error)
    p = np.where(known & known[best] & (error > 0), p, 1.0)
    p[best] = 1.0
    return p


def leader(losses: NDArray[np.float64], criterion: Criterion) -> int:
    """Return the row of `losses` `(n_rows, n_instances)` whose criterion is least, the first of equals."""
    return int(np.argmin(np.nan_to_num(np.asarray(criterion(losses), dtype=float), nan=np.inf, posinf=np.inf)))


def _hangs_on_one(
    losses: NDArray[np.float64], values: NDArray[np.float64], errors: NDArray[np.float64], criterion: Criterion
) -> NDArray[np.bool_]:
    """Return, by row, whether the criterion rests on a single loss, beyond which no resampling can see."""
    ordered = np.sort(losses, axis=1)
    without = np.stack([np.asarray(criterion(ordered[:, :-1])), np.asarray(criterion(ordered[:, 1:]))])
    moved = np.abs(without - values).max(axis=0)
    extreme = (values == ordered[:, 0]) | (values == ordered[:, -1])
    return np.asarray(~(moved <= errors / 2) | extreme)
