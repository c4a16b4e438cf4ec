"""Criterion `iqr`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from raysearch.criteria._statistics import quantile


@dataclass(frozen=True)
class Iqr:
    """The interquartile range, Q3 - Q1: how far the middle half of the instances spreads, whatever its level.

    An objective beside a level, seldom a criterion of its own: it is 0 where all instances fail alike.
    Range: 0 and up; +inf where Q3 is. Source: the spread that Boldyrev et al. 2025 show beside every median.
    """

    def __call__(self, losses: ArrayLike) -> Any:
        """Return the statistic of `losses` `(..., n_instances)`, NaN = not run, as `(...)`."""
        q3 = quantile(losses, 0.75)
        with np.errstate(invalid="ignore"):
            value = q3 - quantile(losses, 0.25)
        return np.where(np.isposinf(q3), np.inf, value)[()]
