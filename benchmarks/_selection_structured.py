"""`calo6912_structured`: losses of the 6,912 calorimeter networks in which hyperparameters say something, not all.

Fitted to `data/calorimeter_320.parquet`. A configuration's level is a floor and the exponential of a sum: main effects,
pairs of hyperparameters (both drawn anew by each replicate, from the posterior of a ridge regression), and a part that
no surrogate of mains and pairs can learn: effects of triples, and a residual of the configuration's own, as wide and
as skewed as what the fit leaves.
Width and share of bad instances depend on hyperparameters too, and the noise is skewed. So a surrogate that expects
normal losses of one variance, or logarithms that add up, is wrong about this family on purpose.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _selection_families import Array, Showers, Table
from scipy.linalg import solve_triangular
from scipy.special import psi

from raysearch.experiment.experiment import from_file
from raysearch.storage import tables

FILE = Path(__file__).parent.parent / "search_spaces" / "calorimeter_energy.yaml"
RECORDED = "calorimeter_320"
BAD = 3.0
"""Of two instances one is in a bad mode if it is so many times worse than the other."""
TRIPLE_SHARE = 0.5
"""Share of the unlearnable variance that lies in effects of triples; the rest is each configuration's own."""

Parameters = Sequence[Mapping[str, Any]]


@functools.cache
def space() -> tuple[Mapping[str, Any], Parameters]:
    """Return the section of the space, and its 6,912 configurations in the order of the grid."""
    experiment = from_file(FILE)
    found = experiment.build_space(experiment.load("workload")).enumerate()
    return experiment.space, tuple(one.parameters for one in found)


def levels(parameters: Parameters) -> list[tuple[tuple[str, str], ...]]:
    """Return each configuration as (name, value) in the order of names; a value as text."""
    return [tuple((name, str(value)) for name, value in sorted(one.items())) for one in parameters]


class Design:
    """Columns of indicators: one per value of a hyperparameter, or per combination of values of `order` of them."""

    def __init__(self, parameters: Parameters, order: int) -> None:
        self.order = order
        cells = {cell for one in levels(parameters) for cell in itertools.combinations(one, order)}
        self.column = {cell: number for number, cell in enumerate(sorted(cells))}

    def __len__(self) -> int:
        return len(self.column)

    def cells(self, parameters: Parameters) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Return the columns `(n, n_combinations)` that are one in each row."""
        rows = [[self.column[cell] for cell in itertools.combinations(one, self.order)] for one in levels(parameters)]
        return np.array(rows, dtype=np.intp)

    def matrix(self, parameters: Parameters) -> Array:
        """Return the indicators `(n, n_columns)`, over the root of the number that are one."""
        cells = self.cells(parameters)
        found = np.zeros((len(cells), len(self)))
        np.put_along_axis(found, cells, 1 / np.sqrt(cells.shape[1]), axis=1)
        return found


@dataclass(frozen=True)
class Ridge:
    """A regression of log(values - floor) on indicators: `mean` `(n_columns,)` and `root` of its posterior."""

    floor: float
    intercept: float
    mean: Array
    root: Array
    residual: Array
    """What it leaves of each value, the errors of the values included."""

    @classmethod
    def of(cls, parts: Sequence[Array], values: Array, floors: Sequence[float] = (0.0,)) -> Ridge:
        """Fit with the floor, and the prior variances of the parts and the residual, that make the data likeliest."""
        logs = np.log(values[:, None] - np.array(floors))
        stretch = (np.log(values)[:, None] - logs).sum(axis=0)  # so that floors are compared on one scale
        n, centred = len(values), logs - logs.mean(axis=0)
        grams = [part @ part.T for part in parts]
        found: list[tuple[float, int, tuple[float, ...], float]] = []
        for shares in itertools.product((0.0, 0.1, 0.3, 1.0, 3.0, 10.0), repeat=len(parts)):
            chol = np.linalg.cholesky(np.eye(n) + sum(share * gram for share, gram in zip(shares, grams, strict=True)))
            noise = (solve_triangular(chol, centred, lower=True) ** 2).sum(axis=0) / n
            evidence = stretch - n / 2 * np.log(noise) - np.log(np.diag(chol)).sum()
            found += [(float(evidence[i]), i, shares, float(noise[i])) for i in range(len(floors))]
        _, which, shares, noise_ = max(found)
        prior = np.concatenate([np.full(part.shape[1], share) for part, share in zip(parts, shares, strict=True)])
        x = np.hstack(parts) * np.sqrt(prior)
        precision = x.T @ x + np.eye(len(prior))
        mean = np.linalg.solve(precision, x.T @ centred[:, which])
        root = np.linalg.inv(np.linalg.cholesky(precision)).T * np.sqrt(noise_)
        scale, residual = np.sqrt(prior), centred[:, which] - x @ mean
        return cls(floors[which], float(logs[:, which].mean()), scale * mean, scale[:, None] * root, residual)

    def draw(self, generator: np.random.Generator) -> Array:
        """Return coefficients drawn from the posterior."""
        return self.mean + self.root @ generator.standard_normal(self.root.shape[1])


@dataclass(frozen=True)
class Fit:
    """What the recorded trainings say about levels, widths and failures of the space."""

    designs: tuple[Design, Design]
    level: Ridge
    width: Ridge
    unlearnable: float
    """Standard deviation of what mains and pairs leave of the logarithm of a level above the floor, errors taken off,
    and its skewness."""
    skewness: float
    bad: Mapping[tuple[str, str], float]
    """Share of instances in a bad mode by (lr, optimizer), shrunk to the mean."""
    factor: float
    """How many times worse than its configuration's level a bad instance is, in the median."""
    diverged: float


@functools.cache
def fit() -> Fit:
    """Return the fit to the recorded table, two instances each."""
    recorded = tables.load(RECORDED)
    told = [one.parameters for one in recorded.configurations]
    designs = (Design(space()[1], 1), Design(space()[1], 2))
    parts = [design.matrix(told) for design in designs]
    losses = np.log(np.where(np.isfinite(recorded.race), recorded.race, np.nan))
    luck = np.nanmedian(losses, axis=0)  # of a column, which all rows share: no spread of theirs
    losses -= luck - luck.mean()
    above = losses - np.nanmin(losses, axis=1, keepdims=True)
    bad = above > np.log(BAD)
    good = np.where(bad, np.nan, losses)
    values = np.exp(np.nanmean(good, axis=1))
    level = Ridge.of(parts, values, [share * values.min() for share in (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)])
    deviations = np.abs(good[:, 0] - good[:, 1]) / np.sqrt(2)
    errors = deviations / np.sqrt(2) * values / (values - level.floor)
    kinds: dict[tuple[str, str], list[float]] = {}
    for one, row in zip(told, bad, strict=True):
        kinds.setdefault((str(one["lr"]), str(one["optimizer"])), []).extend(row.tolist())
    mean, left = float(bad.mean()), level.residual
    return Fit(
        designs,
        level,
        _widths(deviations, parts[0]),
        float(np.sqrt(max(left.var() - float(np.nanmean(errors**2)), 0.1 * left.var()))),
        float(np.mean((left - left.mean()) ** 3) / left.std() ** 3),
        {kind: (sum(rows) + 10 * mean) / (len(rows) + 10) for kind, rows in kinds.items()},
        float(np.exp(np.median(above[bad]))) if bad.any() else 2.0,
        float(np.isinf(recorded.race).mean()),
    )


def _widths(deviations: Array, mains: Array) -> Ridge:
    """Return the widths of `Showers`, learnt from the standard deviations of two instances' logarithms; NaN unknown.

    The logarithm of such a one is too small by a known constant; a width is that of the skewed noise within it.
    """
    known = deviations > 1e-3  # half precision may tie two
    bias = (psi(0.5) + np.log(2)) / 2
    skewed = np.sqrt(np.expm1(Showers.skew**2) * np.exp(Showers.skew**2)) / Showers.skew
    return Ridge.of([mains[known]], deviations[known] / np.exp(bias) / skewed)


@functools.cache
def _designs() -> tuple[Array, Array, np.ndarray[Any, np.dtype[np.intp]], int]:
    """Return the indicators of mains and pairs of the space, and its triples with their number."""
    every = space()[1]
    one, two = fit().designs
    triples = Design(every, 3)
    return one.matrix(every), two.matrix(every), triples.cells(every), len(triples)


def draw(generator: np.random.Generator, n_instances: int, calm: float = 1.0) -> Table:
    """Return a fresh population of the 6,912, its losses and each row's exact upper quartile.

    Widths are `calm` times what was recorded: a sixteenth of the examples and a sixth of the epochs are noisier than a
    whole training.
    """
    section, every = space()
    found, (mains, pairs, triples, n_triples) = fit(), _designs()
    n = len(every)
    learnable = np.hstack([mains, pairs]) @ found.level.draw(generator)
    triple = generator.standard_normal(n_triples)[triples].sum(axis=1) / np.sqrt(triples.shape[1])
    shape = 4 / max(found.skewness**2, 1e-4)
    own = np.sign(found.skewness) * (generator.gamma(shape, 1.0, n) - shape) / np.sqrt(shape)
    rest = np.sqrt(TRIPLE_SHARE) * triple / triple.std() + np.sqrt(1 - TRIPLE_SHARE) * own
    level = found.level.floor + np.exp(found.level.intercept + learnable + found.unlearnable * rest)
    width = calm * np.exp(
        found.width.intercept + mains @ found.width.draw(generator) + 0.3 * generator.standard_normal(n)
    )
    shares = np.array([found.bad[str(one["lr"]), str(one["optimizer"])] for one in every])
    bad = generator.beta(1.0, 1 / np.maximum(shares, 1e-3) - 1)  # of mean `shares`
    factor = found.factor * np.exp(0.5 * generator.standard_normal(n))
    diverges = generator.random(n) < 0.1
    diverged = np.where(diverges, np.minimum(10 * found.diverged * generator.exponential(1.0, n), 0.5), 0.0)
    rows = generator.permutation(n)
    showers = Showers(*(values[rows] for values in (level, width, bad, factor, diverged)))
    return Table(
        showers.draw(generator, n_instances), showers.quantile(0.75), tuple(every[row] for row in rows), section
    )
