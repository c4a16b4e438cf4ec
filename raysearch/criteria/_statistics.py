"""NaN-aware order statistics over the last axis, shared by the criteria; +inf sorts last and stays +inf."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_losses(losses: ArrayLike) -> NDArray[np.float64]:
    """Return `losses` as a float array of at least one axis; raises ValueError for a scalar."""
    array = np.asarray(losses, dtype=np.float64)
    if array.ndim == 0:
        raise ValueError(f"a criterion needs an array of losses with an instance axis, got the scalar {array}")
    return array


def quantile(losses: ArrayLike, q: float) -> Any:
    """Return the `q`-quantile (linear interpolation, Hyndman-Fan type 7) of the values that are not NaN."""
    array = np.sort(as_losses(losses), axis=-1)  # NaN sorts behind +inf
    n = np.count_nonzero(~np.isnan(array), axis=-1)
    position = q * np.maximum(n - 1, 0)
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(n - 1, 0))
    if array.shape[-1] == 0:
        return np.full(array.shape[:-1], np.nan)[()]
    below = np.take_along_axis(array, low[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(array, high[..., None], axis=-1)[..., 0]
    weight = position - low
    with np.errstate(invalid="ignore", over="ignore"):
        # 0 * inf is NaN: where the weight is 0 the upper value must not count
        value = np.where(weight == 0, below, below + weight * (above - below))
    value = np.where(np.isposinf(above) & (weight > 0), np.inf, value)
    return np.where(n == 0, np.nan, value)[()]


def mean(losses: ArrayLike) -> Any:
    """Return the mean of the values that are not NaN; NaN where there is none."""
    array = as_losses(losses)
    run = ~np.isnan(array)
    n = np.count_nonzero(run, axis=-1)
    with np.errstate(over="ignore"):  # a sum beyond all numbers is +inf
        total = np.where(run, array, 0.0).sum(axis=-1)
    return np.where(n == 0, np.nan, total / np.maximum(n, 1))[()]
