"""Criterion `std`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from raysearch.criteria._statistics import IN_ORDER, as_losses, mean, of_few, total_of


@dataclass(frozen=True)
class Std:
    """The sample standard deviation (n - 1 in the denominator): how much instances differ, whatever their level.

    Range: 0 and up; one instance alone gives +inf, since nothing is known of its spread; +inf where one diverged.
    Source: follow-up of Boldyrev et al. 2025 (CHEP 2026), criterion Std.
    """

    def __call__(self, losses: ArrayLike) -> Any:
        """Return the statistic of `losses` `(..., n_instances)`, NaN = not run, as `(...)`."""
        array = as_losses(losses)
        found = of_few(array, _of_one, IN_ORDER)
        if found is not None:
            return found
        run = ~np.isnan(array)
        n = run.sum(axis=-1)
        diverged = np.isposinf(array).any(axis=-1)
        finite = np.where(np.isposinf(array), np.nan, array)
        center = np.expand_dims(np.asarray(mean(finite)), -1)
        with np.errstate(over="ignore", invalid="ignore"):  # a square beyond all numbers is +inf
            squares = np.where(np.isnan(finite), 0.0, (finite - center) ** 2).sum(axis=-1)
        value = np.sqrt(squares / np.maximum(n - 1, 1))
        value = np.where(diverged | (n == 1), np.inf, value)
        return np.where(n == 0, np.nan, value)[()]


def _of_one(losses: list[float]) -> float:
    if len(losses) == 1 or math.inf in losses:
        return math.inf
    center = total_of(losses) / len(losses)
    return math.sqrt(total_of([(loss - center) * (loss - center) for loss in losses]) / (len(losses) - 1))
