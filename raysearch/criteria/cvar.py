"""Criterion `cvar`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval
from numpy.typing import ArrayLike

from raysearch.criteria._statistics import IN_ORDER, as_losses, of_few, total_of
from raysearch.registry import Validated


@dataclass(frozen=True)
class Cvar(Validated):
    """Conditional value at risk: the mean of the worst share `alpha` of the losses (at least one instance).

    With n instances the tail holds alpha n of them, the last one counted in part. Range: between Mean (alpha = 1) and
    Max (alpha -> 0). Raises ValueError unless 0 < alpha <= 1.
    Source: Rockafellar & Uryasev 2000, discrete form.
    """

    alpha: Annotated[float, Interval(gt=0, le=1)] = 0.25

    def __call__(self, losses: ArrayLike) -> Any:
        """Return the statistic of `losses` `(..., n_instances)`, NaN = not run, as `(...)`."""
        array = as_losses(losses)
        found = of_few(array, self._of_one, IN_ORDER)
        if found is not None:
            return found
        array = np.sort(array, axis=-1)
        n = np.count_nonzero(~np.isnan(array), axis=-1)[..., None]
        tail = np.maximum(self.alpha * n, 1.0)
        rank_from_worst = n - 1 - np.arange(array.shape[-1])
        weight = np.clip(tail - rank_from_worst, 0.0, 1.0)
        weight = np.where((rank_from_worst < 0) | (n == 0), 0.0, weight)
        # a weight of 0 on +inf or NaN must not poison the sum
        with np.errstate(over="ignore"):  # a sum beyond all numbers is +inf
            total = np.where(weight > 0, np.where(weight > 0, array, 0.0) * weight, 0.0).sum(axis=-1)
        return np.where(n[..., 0] == 0, np.nan, total / tail[..., 0])[()]

    def _of_one(self, losses: list[float]) -> float:
        tail = max(self.alpha * len(losses), 1.0)
        left = [tail - rank for rank in range(len(losses) - 1, -1, -1)]
        weighed = zip(sorted(losses), left, strict=True)
        return total_of([loss * min(weight, 1.0) for loss, weight in weighed if weight > 0]) / tail
