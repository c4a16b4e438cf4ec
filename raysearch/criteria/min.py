"""Criterion `min`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from raysearch.criteria._statistics import quantile


@dataclass(frozen=True)
class Min:
    """The luckiest loss seen: what most tuners report, kept for comparison with them.

    Range: that of the losses; falls with the number of instances. Source: Boldyrev et al. 2025, criterion Min.
    """

    def __call__(self, losses: ArrayLike) -> Any:
        """Return the statistic of `losses` `(..., n_instances)`, NaN = not run, as `(...)`."""
        return quantile(losses, 0.0)
