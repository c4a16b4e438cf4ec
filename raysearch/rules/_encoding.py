"""Hyperparameters as numbers: what a rule that learns across configurations knows of each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WAVES = 4
"""A number is described by so many cosines at most, the k-th a k-th as high: smooth shapes are the likelier ones."""
N_PAIRS = 400
"""More columns of pairs than that are thinned out: a fit must stay a matter of a second."""
LARGEST_CHOICE = 12
"""A parameter of more columns is in no pair."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """What is known of each configuration before any training.

    `main` `(n_configurations, n_main)` describes each parameter by itself, `pairs` `(n_configurations, n_pairs)` each
    two together. A parameter whose condition does not hold says only that. `seed` is that of the search.
    """

    main: Array
    pairs: Array
    seed: int = 0

    @classmethod
    def of(cls, configurations: Sequence[Mapping[str, Any]], seed: int = 0) -> Encoding:
        """Return the encoding of configurations by what values they have: no description of the space is needed."""
        groups = _distinct([_columns(configurations, name) for name in _names(configurations)])
        main = np.hstack([np.empty((len(configurations), 0)), *groups])
        return cls(main, _pairs(groups, len(configurations)), seed)

    def with_groups(self, groups: Sequence[NDArray[np.intp]]) -> Encoding:
        """Return the same with a column for each group of rows, which may differ from all others as a whole."""
        columns = np.zeros((len(self), len(groups)))
        for column, rows in enumerate(groups):
            columns[rows, column] = 1.0
        return Encoding(np.hstack([self.main, columns]), self.pairs, self.seed) if groups else self

    def __len__(self) -> int:
        return len(self.main)


def _names(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for one in configurations for name in one))


def _columns(configurations: Sequence[Mapping[str, Any]], name: str) -> Array:
    """Return the columns `(n_configurations, n)` of a parameter, each of a mean square of about 1 over n."""
    active = np.array([name in one for one in configurations])
    values = [one[name] for one in configurations if name in one]
    keys = [json.dumps(value, sort_keys=True) for value in values]
    distinct = sorted(set(keys))
    if len(distinct) < 2:
        known = np.empty((len(values), 0))
    elif len(distinct) == 2:
        known = np.where(np.array(keys) == distinct[0], 1.0, -1.0)[:, None]
    elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        known = _cosines(np.array(values, dtype=np.float64))
    else:
        same = np.array(keys)[:, None] == np.array(distinct)
        known = (same - 1 / len(distinct)) / np.sqrt(1 - 1 / len(distinct))
    columns = np.zeros((len(configurations), known.shape[1]))
    columns[active] = known
    return columns if active.all() else np.hstack([columns, np.where(active, 1.0, -1.0)[:, None]])


def _cosines(values: Array) -> Array:
    """Return cosines over the range of a number, or of its logarithm where that is spaced more evenly."""
    levels = np.unique(values)
    if levels[0] > 0 and _unevenness(np.log(levels)) < _unevenness(levels):
        values, levels = np.log(values), np.log(levels)
    place = (values - levels[0]) / (levels[-1] - levels[0])
    if len(levels) <= 8:  # in the middles of equal parts, where the cosines of few values are orthogonal
        place = (place * (len(levels) - 1) + 0.5) / len(levels)
    k = np.arange(1, min(len(levels) - 1, WAVES) + 1)
    waves: Array = np.sqrt(2) * np.cos(np.pi * k * place[:, None]) / k / np.sqrt((1 / k**2).sum())
    return waves


def _unevenness(levels: Array) -> float:
    steps = np.diff(levels)
    return float(steps.std() / steps.mean())


def _distinct(groups: list[Array]) -> list[Array]:
    """Return the groups without columns that others have, up to the sign: a condition says what its parameter says."""
    seen: set[bytes] = set()
    kept = []
    for group in groups:
        columns = []
        for column in group.T:
            key = (np.round(column * (np.sign(column[np.flatnonzero(column)[:1]]).sum() or 1.0), 9) + 0.0).tobytes()
            if key not in seen and column.std() > 1e-9:
                seen.add(key)
                columns.append(column)
        if columns:
            kept.append(np.array(columns).T)
    return kept


def _pairs(groups: list[Array], n: int) -> Array:
    """Return the products of each two columns of different parameters: of all columns, or of the first of each."""
    some = [group for group in groups if group.shape[1] <= LARGEST_CHOICE]
    for depth in (LARGEST_CHOICE, 2, 1):
        products = [
            (one[:, :depth, None] * other[:, None, :depth]).reshape(n, -1)
            for one, other in itertools.combinations(some, 2)
        ]
        if sum(product.shape[1] for product in products) <= N_PAIRS:
            break
    pairs = np.hstack([np.empty((n, 0)), *products])
    pairs = pairs[:, pairs.std(axis=0) > 1e-9]
    if pairs.shape[1] > N_PAIRS:
        pairs = pairs[:, np.linspace(0, pairs.shape[1] - 1, N_PAIRS).astype(int)]
    return pairs
