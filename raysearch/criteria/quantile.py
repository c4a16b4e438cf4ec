"""Criterion `quantile`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval
from numpy.typing import ArrayLike

from raysearch.criteria._statistics import quantile
from raysearch.registry import Validated


@dataclass(frozen=True)
class Quantile(Validated):
    """The `q`-quantile of the losses (linear interpolation): a share `q` of the instances does better.

    Range: that of the losses. Raises ValueError unless 0 <= q <= 1.
    Source: Hyndman & Fan 1996, type 7; generalises Median and Q3 of Boldyrev et al. 2025.
    """

    q: Annotated[float, Interval(ge=0, le=1)] = 0.9

    def __call__(self, losses: ArrayLike) -> Any:
        """Return the statistic of `losses` `(..., n_instances)`, NaN = not run, as `(...)`."""
        return quantile(losses, self.q)
