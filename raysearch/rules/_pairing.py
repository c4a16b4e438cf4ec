"""What pairing gives `top_two`: column s is the same seed and sample for every row, so its luck can be taken off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CLIP = 3.0
"""Standardised losses are clipped here, so that one wild instance does not pass for the luck of its column."""


def shared_luck(losses: Array, good: NDArray[np.bool_], center: Array, scale: Array) -> tuple[Array, Array]:
    """Return for each row the mean luck of its columns and the share of the variance of its mean that is known by it.

    Model: loss = theta_c + scale_c (w_s + e_cs), Var w = rho, Var e = 1 - rho. rho is estimated by the products of
    standardised losses within columns, less two standard errors, so that it is 0 without evidence. w_s is the best
    linear prediction sum_c z_cs / (k_s + (1 - rho) / rho), k_s the rows in column s, found with theta in three steps.
    What is left of w_s, seen from a row, has variance rho (1 - rho) / (1 - rho + rho (k_s - 1)).
    """
    n = np.count_nonzero(good, axis=1)
    k = np.count_nonzero(good[n > 1], axis=0)
    none = np.zeros(len(n))
    usable = k > 2
    if np.count_nonzero(usable) < 2:
        return none, none
    z = np.clip(np.where(good, losses - center[:, None], 0.0) / scale[:, None], -CLIP, CLIP)
    rho = _correlation(z[n > 1][:, usable], k[usable])
    if rho <= 0:
        return none, none
    k = np.count_nonzero(good, axis=0)
    weight = 1 / (k + (1 - rho) / rho)
    luck = none
    share = good / np.maximum(n, 1)[:, None]
    for _ in range(3):
        column = np.where(good, z + luck[:, None], 0.0).sum(axis=0) * weight
        luck = share @ column
    left = (1 - rho) / (1 - rho + rho * np.maximum(k - 1, 0))
    return luck, rho * (share @ (1 - left))


def _correlation(z: Array, k: NDArray[np.intp]) -> float:
    """Return a cautious estimate of the correlation within columns, from 0 to .95."""
    squares = (z * z).sum(axis=0)
    pairs = z.sum(axis=0) ** 2 - squares
    possible = ((k - 1) * squares).sum()
    if possible <= 0:
        return 0.0
    error = np.sqrt(2 / (len(k) - 1)) / max(float(k.mean()) - 1, 1.0)
    return float(np.clip(pairs.sum() / possible - 2 * error, 0.0, 0.95))
