"""Criterion `q3`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from raysearch.criteria._statistics import quantile


@dataclass(frozen=True)
class Q3:
    """The third quartile: three of four instances do better.

    Range: that of the losses. Source: Boldyrev et al. 2025, criterion Q3.
    """

    def __call__(self, losses: ArrayLike) -> Any:
        """Return the statistic of `losses` `(..., n_instances)`, NaN = not run, as `(...)`."""
        return quantile(losses, 0.75)
