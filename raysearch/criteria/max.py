"""Criterion `max`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from raysearch.criteria._statistics import quantile


@dataclass(frozen=True)
class Max:
    """The worst loss seen.

    Range: that of the losses; grows with the number of instances. Source: Boldyrev et al. 2025, criterion Max.
    """

    def __call__(self, losses: ArrayLike) -> Any:
        """Return the statistic of `losses` `(..., n_instances)`, NaN = not run, as `(...)`."""
        return quantile(losses, 1.0)
