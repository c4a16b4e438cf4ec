"""What `top_two` believes of its contenders: values, scales, bad modes, and the chance that one beats the leader."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, stdtr

from raysearch.criteria import Criterion
from raysearch.rules._pairing import shared_luck
from raysearch.rules._small_samples import SmallSamples, small_samples

Array = NDArray[np.float64]
Counts = NDArray[np.intp]

CLIP = 5.0
"""A loss this many pooled scales above its configuration's median belongs to the bad mode."""


@dataclass(frozen=True, eq=False)
class Contenders:
    """Beliefs about each row, arrays of `(n_contenders,)`.

    `theta`: the criterion, its small-sample bias taken off (+inf where nothing finished). `clean`: the same without the
    `n_bad` instances of the bad mode, which is its value if that mode is rarer than the criterion's breakdown point.
    `scale`: standard deviation of the good mode, shrunk to the pooled one; `dof`: degrees of freedom behind it.
    `paired`: the share of the variance of a row's mean that the luck of its columns explains; it is taken off `theta`.
    """

    theta: Array
    clean: Array
    scale: Array
    dof: Array
    n: Counts
    n_bad: Counts
    paired: Array
    table: SmallSamples

    @classmethod
    def of(cls, losses: Array, criterion: Criterion, cap: int, prior_dof: float) -> Contenders | None:
        """Return the beliefs that follow from `losses` `(n_contenders, n_instances)`, None while no row has two."""
        table = small_samples(criterion, cap)
        n = np.count_nonzero(~np.isnan(losses), axis=1)
        raw = _finite_or_inf(criterion(losses))
        good = np.isfinite(losses)
        center, squares, dof = _moments(losses, good)
        if not dof.any() and np.isfinite(raw).any():
            return None
        robust = table.breakdown > 0
        pooled = _pooled_scale(raw, squares, dof, robust=robust)
        clean = raw.copy()
        if robust:
            good &= ~_bad_mode(losses, good, CLIP * pooled)
            center, squares, dof = _moments(losses, good)
            sick = np.flatnonzero(np.count_nonzero(good, axis=1) < n)
            if len(sick):
                clean[sick] = _finite_or_inf(criterion(np.where(good[sick], losses[sick], np.nan)))
        n_bad = n - np.count_nonzero(good, axis=1)
        scale = np.sqrt((prior_dof * pooled**2 + squares) / (prior_dof + dof))
        luck, paired = shared_luck(losses, good, center, scale)
        bias = table.bias[np.minimum(n, cap)] - table.follows * luck
        clean_bias = table.bias[np.minimum(n - n_bad, cap)] - table.follows * luck
        known = np.asarray(prior_dof + dof, dtype=np.float64)
        theta, clean = raw + bias * scale, clean + clean_bias * scale
        return cls(theta, clean, scale, known, n, n_bad, table.follows * paired, table)

    @cached_property
    def leader(self) -> int:
        """The row of the least `theta`; ties: the least `clean`, then the earlier row."""
        return int(np.lexsort((self.clean, self.theta))[0])

    def error(self, n: Counts) -> Array:
        """Return the standard error of `theta` if every row had `n` instances."""
        alone = self.table.error[np.minimum(n, len(self.table.error) - 1)]
        # luck is a part of the mean's variance 1/n only; the rest of a criterion's error it does not explain
        return np.sqrt(np.maximum(alone**2 - self.paired / np.maximum(n, 1), 0.05 * alone**2)) * self.scale

    def excuse(self, n: Counts) -> Array:
        """Return P(the bad mode is rarer than the breakdown point) if every further instance up to `n` is good.

        The posterior of the mode's share is Beta(n_bad + 1/2, n - n_bad + 1/2). A criterion that a single infinite loss
        makes infinite has no excuse for one.
        """
        if self.table.breakdown == 0:
            return np.where(self.n_bad > 0, 0.0, 1.0)
        if self.table.breakdown >= 1:
            return np.ones(len(self.n))
        share: Array = betainc(self.n_bad + 0.5, n - self.n_bad + 0.5, self.table.breakdown)
        return share

    def rival(self, n: Counts, delta: float) -> Array:
        """Return P(theta of a row < theta of the leader - delta |theta of the leader|) with `n` instances each.

        Student-t with Welch's degrees of freedom. For a row with a bad mode, the greater of that and of the same for
        its clean value, times the probability that the clean value is the true one. 0 for the leader itself.
        """
        best = self.theta[self.leader]
        bar = best - delta * abs(best)
        chance = self._below(bar, self.theta, n)
        sick = np.flatnonzero(self.n_bad)
        if len(sick):
            excused = self.excuse(n) * self._below(bar, self.clean, n - self.n_bad)
            chance[sick] = np.maximum(chance, excused)[sick]
        chance[self.leader] = 0.0
        return chance

    def _below(self, bar: float, theta: Array, n: Counts) -> Array:
        error = self.error(np.maximum(n, 1))
        mine, best = error**2, error[self.leader] ** 2
        both = mine + best
        dof = both**2 / (mine**2 / self.dof + best**2 / self.dof[self.leader])
        chance: Array = stdtr(dof, (bar - theta) / np.sqrt(both))
        return chance


def _finite_or_inf(values: object) -> Array:
    array = np.array(values, dtype=np.float64)
    array[np.isnan(array)] = np.inf
    return array


def _moments(losses: Array, good: NDArray[np.bool_]) -> tuple[Array, Array, Counts]:
    """Return mean, sum of squared deviations and degrees of freedom of the `good` losses of each row."""
    n = np.count_nonzero(good, axis=1)
    center = np.where(good, losses, 0.0).sum(axis=1) / np.maximum(n, 1)
    deviations = np.where(good, losses - center[:, None], 0.0)
    return center, np.einsum("ij,ij->i", deviations, deviations), np.maximum(n - 1, 0)


def _pooled_scale(raw: Array, squares: Array, dof: Counts, *, robust: bool) -> float:
    """Return the typical standard deviation within the best quarter: pooled, or `robust`, from the median variance."""
    known = np.flatnonzero(dof)
    quarter = known[np.argsort(raw[known], kind="stable")[: max(len(raw) // 4, 4)]]
    if not len(quarter):
        return 1.0  # nothing finite: no comparison will be made
    if robust:
        # the median of chi^2 / dof lies at (1 - 2 / (9 dof))^3 (Wilson and Hilferty)
        variance = np.median(squares[quarter] / dof[quarter] / (1 - 2 / (9 * dof[quarter])) ** 3)
    else:
        variance = squares[quarter].sum() / dof[quarter].sum()
    floor = 1e-9 * np.abs(raw[quarter]).min(initial=np.inf, where=np.isfinite(raw[quarter]))
    return float(
        max(np.sqrt(variance), floor if np.isfinite(floor) else 0.0, 1e-60)
    )  # its fourth power must not vanish


def _bad_mode(losses: Array, good: NDArray[np.bool_], width: float) -> NDArray[np.bool_]:
    """Return which of the `good` losses lie more than `width` above the (lower) median of their row."""
    finite = np.where(good, losses, np.inf)
    middle = np.maximum(np.count_nonzero(good, axis=1) - 1, 0) // 2
    median = np.take_along_axis(np.sort(finite, axis=1), middle[:, None], axis=1)
    with np.errstate(invalid="ignore"):  # inf - inf in a row without any finite loss
        above: NDArray[np.bool_] = finite - median > width
    return good & above
