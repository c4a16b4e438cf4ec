"""Criterion `mean`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from raysearch.criteria._statistics import mean


@dataclass(frozen=True)
class Mean:
    """The mean loss: what a user gets on average, outliers included in full.

    Range: that of the losses. Source: Boldyrev et al. 2025, criterion Mean.
    """

    def __call__(self, losses: ArrayLike) -> Any:
        """Return the statistic of `losses` `(..., n_instances)`, NaN = not run, as `(...)`."""
        return mean(losses)
