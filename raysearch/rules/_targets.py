"""What few instances say of each configuration's criterion, level and spread both, as a surface can learn it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, polygamma, psi
from scipy.stats import siegelslopes

from raysearch.criteria import Criterion
from raysearch.rules._encoding import Encoding
from raysearch.rules._small_samples import small_samples
from raysearch.rules._surface import Surface

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

STEEPNESS = 0.3
"""Above the middle of the configurations a difference counts so much: it is the good ones that are to be told apart."""
N_SPREAD = 12
"""From so many configurations of two instances on, a column's luck is known, and the typical spread robustly."""
N_LEARNT = 40
"""So many teach whose spread is greater; from fewer, each of one degree of freedom, wild surfaces would be learnt."""
FACTOR = 4.0
"""No spread is believed to be more than so many times the typical one, or less than a part of it."""


@dataclass(frozen=True, eq=False)
class Scale:
    """From losses to a scale on which configurations add up: logarithms of positive losses, the bad half compressed."""

    log: bool
    middle: float
    worst: float
    """Where what diverged or failed is put: as bad as the worst loss, so that it teaches without drowning the rest."""

    @classmethod
    def of(cls, losses: Array) -> Scale | None:
        """Return the scale for losses `(n_configurations, n_instances)`; None while none of them is finite."""
        finite = np.isfinite(losses)
        if not finite.any():
            return None
        log = bool(losses[finite].min() > 0)
        known = np.where(finite, losses, np.nan)[finite.any(axis=1)]
        levels = np.nanmedian(np.log(known) if log else known, axis=1)
        highest = float(np.nanmax(np.log(known) if log else known))
        raw = cls(log, float(np.median(levels)), np.inf)
        return cls(raw.log, raw.middle, float(raw._compressed(np.array(highest))))

    def there(self, losses: Array) -> Array:
        """Return losses on this scale; NaN stays NaN."""
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.log(losses) if self.log else losses
        return np.where(np.isfinite(losses), self._compressed(values), np.where(np.isnan(losses), np.nan, self.worst))

    def plain(self, losses: Array) -> Array:
        """Return finite losses, logarithms where this scale is one of them, uncompressed; NaN for the others."""
        finite = np.where(np.isfinite(losses), losses, np.nan)
        return np.log(finite) if self.log else finite

    def back(self, values: Array) -> Array:
        """Return values of this scale as losses."""
        over = np.maximum(values - self.middle, 0.0)
        plain = np.minimum(values, self.middle) + over / STEEPNESS
        return np.exp(np.minimum(plain, 700.0)) if self.log else plain

    def below(self, values: Array, delta: float) -> Array:
        """Return values by `delta` (relative, as losses) better."""
        losses = self.back(values)
        return self.there(losses - delta * np.abs(losses))

    def _compressed(self, values: Array) -> Array:
        over = np.maximum(values - self.middle, 0.0)
        return np.minimum(values, self.middle) + STEEPNESS * over


@dataclass(frozen=True, eq=False)
class Learnt:
    """A surface of the criterion, and the scale that it is on."""

    surface: Surface
    scale: Scale

    @classmethod
    def of(cls, encoding: Encoding, losses: Array, criterion: Criterion, cap: int) -> Learnt | None:
        """Learn from losses `(n_configurations, n_instances)`, NaN = unknown; None while there is nothing to learn."""
        scale = Scale.of(losses)
        table = small_samples(criterion, cap)
        rows = np.flatnonzero(np.count_nonzero(~np.isnan(losses), axis=1) >= table.n_least)
        if scale is None or len(rows) < 2:
            return None
        values = scale.there(losses[rows])
        n = np.minimum(np.count_nonzero(~np.isnan(values), axis=1), cap)
        steep = np.where(np.nanmedian(values, axis=1) > scale.middle, STEEPNESS, 1.0)
        spread = spread_of(encoding, rows, scale.plain(losses[rows])) * steep
        if table.follows > 0.5:
            found = np.asarray(criterion(values)) + table.bias[n] * spread
            errors = table.error[n] * spread
        else:  # the criterion is a spread itself: its logarithm is learnt
            raw = np.asarray(criterion(np.where(np.isinf(losses[rows]), np.nan, losses[rows])))
            plain = Scale.of(raw[:, None])
            if plain is None:
                return None
            scale, found = plain, plain.there(np.where(np.isnan(raw), np.inf, raw))
            errors = table.error[n] / _of_normal(criterion)
        return cls(Surface.of(encoding, rows, found, np.maximum(errors, 1e-9)), scale)

    @cached_property
    def expected(self) -> Array:
        """What each configuration's criterion is expected to be, `(n_configurations,)`, as losses."""
        mean: Array = np.round(self.surface.mean(), 9)  # another machine's rounding must not order them otherwise
        return self.scale.back(mean)


def spread_of(encoding: Encoding, rows: Rows, values: Array) -> Array:
    """Return the standard deviation within each of `rows`: learnt over the space, and by their own instances.

    `values` `(n, n_instances)`, NaN = unknown. The luck of a column, which all rows share, is no spread of theirs: with
    two columns there is one draw of it, and it would pass for everybody's.
    """
    good = ~np.isnan(values)
    n = np.count_nonzero(good, axis=1)
    center = np.where(good, values, 0.0).sum(axis=1) / np.maximum(n, 1)
    among = float(center[n > 0].std()) if (n > 0).any() else 0.0
    known = np.flatnonzero(n > 1)
    if not len(known):
        return np.full(len(rows), 0.3 * among)
    dof = n[known] - 1
    variance = _variances(np.where(good, values - center[:, None], np.nan)[known], center[known], dof)
    half = dof / 2
    floor = 1e-8 * among**2 + 1e-300
    logs = np.log(np.maximum(variance, floor)) - psi(half) + np.log(half)
    if len(known) < N_SPREAD or np.ptp(logs) < 1e-9:
        return np.full(len(rows), np.sqrt(np.average(variance, weights=dof) + floor))
    errors = np.sqrt(polygamma(1, half))
    # a single pair of equal losses is no sign of a spread of nothing
    logs = np.maximum(logs, np.median(logs) - 3 * errors)
    if len(known) < N_LEARNT:
        return np.full(len(rows), np.exp(np.average(logs, weights=1 / errors**2) / 2))
    by_itself = Encoding(encoding.main, encoding.main[:, :0])
    learnt = Surface.of(by_itself, rows[known], logs, errors).mean()[rows]
    middle = float(np.median(learnt))
    bounded: Array = np.clip(learnt, middle - 2 * np.log(FACTOR), middle + 2 * np.log(FACTOR))
    return np.exp(bounded / 2)


def _variances(deviations: Array, center: Array, dof: Rows) -> Array:
    """Return the variance of each row `(n, n_instances)` of deviations, the luck of its columns taken off.

    A sample that is easy for all may be easier still for the good ones: luck is a line over the rows' `center` `(n,)`.
    """
    there = ~np.isnan(deviations)
    own = np.where(there, deviations, 0.0)
    for column in np.flatnonzero(np.count_nonzero(there, axis=0) >= N_SPREAD):
        rows = there[:, column]
        luck = deviations[rows, column]
        flat = not np.ptp(center[rows])  # no line goes through that
        slope, level = (0.0, np.median(luck)) if flat else siegelslopes(luck, center[rows])
        own[rows, column] -= level + slope * center[rows]
    own -= there * (own.sum(axis=1) / (dof + 1))[:, None]
    variance: Array = (own**2).sum(axis=1) / dof
    return variance


def _of_normal(criterion: Criterion) -> float:
    """Return a spread criterion of a standard normal."""
    return max(abs(float(criterion(ndtri((np.arange(400) + 0.5) / 400)))), 1e-3)
