"""NaN-aware order statistics over the last axis, shared by the criteria; +inf sorts last and stays +inf."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    if array.ndim == 1:
        return np.float64(of_sorted(array.tolist(), q))
    shape, width = array.shape[:-1], array.shape[-1]
    if width == 0:
        return np.full(shape, np.nan)
    n = (~np.isnan(array)).sum(axis=-1).ravel()
    last = np.maximum(n - 1, 0)
    position = q * last
    low = position.astype(np.intp)
    first = np.arange(0, array.size, width)  # of each set of losses
    below, above = array.ravel()[first + low], array.ravel()[first + np.minimum(low + 1, last)]
    weight = position - low
    with np.errstate(invalid="ignore", over="ignore"):
        # 0 * inf is NaN: where the weight is 0 the upper value must not count
        value = np.where(weight == 0, below, below + weight * (above - below))
    value[(above == np.inf) & (weight > 0)] = np.inf
    value[n == 0] = np.nan
    return value.reshape(shape)


def of_sorted(values: Sequence[float], q: float) -> float:
    """Return the same of one set of losses, sorted, NaN last: without arrays it takes a tenth of the time."""
    n = len(values)
    while n and values[n - 1] != values[n - 1]:
        n -= 1
    if not n:
        return math.nan
    position = q * (n - 1)
    low = int(position)
    weight, below, above = position - low, values[low], values[min(low + 1, n - 1)]
    if not weight:
        return below
    return math.inf if above == math.inf else below + weight * (above - below)


def mean(losses: ArrayLike) -> Any:
    """Return the mean of the values that are not NaN; NaN where there is none."""
    array = as_losses(losses)
    run = ~np.isnan(array)
    n = run.sum(axis=-1)
    with np.errstate(over="ignore"):  # a sum beyond all numbers is +inf
        total = np.where(run, array, 0.0).sum(axis=-1)
    return np.where(n == 0, np.nan, total / np.maximum(n, 1))[()]
