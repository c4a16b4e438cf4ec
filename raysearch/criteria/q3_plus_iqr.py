"""Criterion `q3_plus_iqr`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from raysearch.criteria._statistics import as_losses, of_few, of_sorted, quantile


@dataclass(frozen=True)
class Q3PlusIqr:
    """Third quartile plus interquartile range, 2 Q3 - Q1: punishes a wide spread twice.

    Range: at least that of Q3; +inf where Q3 is. Source: Boldyrev et al. 2025, criterion Q3+IQR.
    """

    def __call__(self, losses: ArrayLike) -> Any:
        """Return the statistic of `losses` `(..., n_instances)`, NaN = not run, as `(...)`."""
        array = as_losses(losses)
        found = of_few(array, _of_one)
        if found is not None:
            return found
        q3 = quantile(array, 0.75)
        with np.errstate(invalid="ignore", over="ignore"):
            value = 2 * q3 - quantile(array, 0.25)
        return np.where(np.isposinf(q3), np.inf, value)[()]


def _of_one(losses: list[float]) -> float:
    losses = sorted(losses)
    q3 = of_sorted(losses, 0.75)
    return math.inf if q3 == math.inf else 2 * q3 - of_sorted(losses, 0.25)
