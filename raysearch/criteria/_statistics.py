"""NaN-aware order statistics over the last axis, shared by the criteria; +inf sorts last and stays +inf."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FEW = 64
"""Losses in all, and"""
IN_ORDER = 7
"""of one set: arrays add up so many in their order, and more of them pairwise."""


def as_losses(losses: ArrayLike) -> NDArray[np.float64]:
    """Return `losses` as a float array of at least one axis; raises ValueError for a scalar."""
    array = np.asarray(losses, dtype=np.float64)
    if array.ndim == 0:
        raise ValueError(f"a criterion needs an array of losses with an instance axis, got the scalar {array}")
    return array


def of_few(array: NDArray[np.float64], statistic: Callable[[list[float]], float], width: int = _FEW) -> Any:
    """Return a statistic over the last axis of few losses, None where they are many or their sets wider than `width`.

    Without arrays it takes a tenth of the time. `statistic` gets each set without NaN; of none it is NaN.
    """
    if array.size > _FEW or array.shape[-1] > width:
        return None
    if array.ndim == 1:
        known = [loss for loss in array.tolist() if loss == loss]
        return np.float64(statistic(known) if known else math.nan)
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1]).tolist()
    sets = ([loss for loss in row if loss == loss] for row in rows)
    return np.array([statistic(known) if known else math.nan for known in sets]).reshape(array.shape[:-1])


def quantile(losses: ArrayLike, q: float) -> Any:
    """Return the `q`-quantile (linear interpolation, Hyndman-Fan type 7) of the values that are not NaN."""
    array = as_losses(losses)
    found = of_few(array, lambda known: of_sorted(sorted(known), q))
    if found is not None:
        return found
    array = np.sort(array, axis=-1)  # NaN sorts behind +inf
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
    """Return the same of one set of losses, sorted, NaN last."""
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
    found = of_few(array, lambda known: total_of(known) / len(known), IN_ORDER)
    if found is not None:
        return found
    run = ~np.isnan(array)
    n = run.sum(axis=-1)
    with np.errstate(over="ignore"):  # a sum beyond all numbers is +inf
        total = np.where(run, array, 0.0).sum(axis=-1)
    return np.where(n == 0, np.nan, total / np.maximum(n, 1))[()]


def total_of(values: Sequence[float]) -> float:
    """Return the sum of few numbers as arrays give it; Python's own differs from release to release."""
    total = 0.0
    for value in values:
        total += value
    return total
