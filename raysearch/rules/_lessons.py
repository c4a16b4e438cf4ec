"""What earlier searches of the same workload teach a rule that learns: their losses, beside those of its own matrix."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.rules._encoding import Encoding

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

N_OWN = 8
"""So many configurations of a search's own must be known before another scale can be brought to theirs."""
LEAST_START = 4
"""At least the so-manieth part of what is tried at random is tried, whatever has been learnt before."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """One earlier search: hyperparameters of its configurations, and `losses` `(n_configurations, n_instances)`.

    NaN = not trained, +inf = diverged. `alike`: workload settings are the same, so losses are on one scale. `shared`:
    column s is the very instance that stands in column s of the matrix.
    """

    configurations: Sequence[Mapping[str, Any]]
    losses: Array
    alike: bool
    shared: bool = False


@dataclass(frozen=True, eq=False)
class Lessons:
    """All earlier searches, each row of theirs with its row among all that are encoded; the first `n` are the rule's.

    A configuration of the rule's has one row, if an earlier search is `alike`; in another workload setting it is
    another configuration, of the same main effects and pairs.
    """

    n: int
    lessons: tuple[Lesson, ...] = ()
    rows: tuple[Rows, ...] = ()

    @classmethod
    def of(
        cls, configurations: Sequence[Mapping[str, Any]], lessons: Sequence[Lesson], seed: int
    ) -> tuple[Encoding, Lessons]:
        """Return the encoding of `configurations` and all others that the lessons are about, and the lessons."""
        everyone, places = list(configurations), {_name(one): row for row, one in enumerate(configurations)}
        rows = []
        for lesson in lessons:
            own = []
            for one in lesson.configurations:
                place = places.setdefault(_name(one), len(everyone)) if lesson.alike else len(everyone)
                if place == len(everyone):
                    everyone.append(one)
                own.append(place)
            rows.append(np.array(own, dtype=np.intp))
        encoding = Encoding.of(everyone, seed)
        strange = [rows_ for rows_, lesson in zip(rows, lessons, strict=True) if not lesson.alike]
        return encoding.with_groups(strange), cls(len(configurations), tuple(lessons), tuple(rows))

    def start(self, wanted: int) -> int:
        """Return how many of `wanted` configurations are still to be tried at random."""
        n_taught = sum(len(lesson.configurations) for lesson in self.lessons)
        return max(wanted - n_taught, -(-wanted // LEAST_START))

    def beside(self, losses: Array) -> Array:
        """Return `losses` `(n, n_instances)` with the lessons' rows below them, and their columns beside them.

        Losses of another workload setting are brought to the same middle; they are left out before that is known.
        """
        if not self.lessons:
            return losses
        n_rows = max(self.n, *(int(rows.max(initial=-1)) + 1 for rows in self.rows))
        shared = max((one.losses.shape[1] for one in self.lessons if one.shared), default=0)
        own = max(losses.shape[1], shared)
        found = np.full((n_rows, own + sum(one.losses.shape[1] for one in self.lessons)), np.nan)
        found[: self.n, : losses.shape[1]] = losses
        column = own
        for rows, one in zip(self.rows, self.lessons, strict=True):
            told = one.losses if one.alike else _moved(one.losses, losses)
            if one.shared:
                known = found[rows, : told.shape[1]]
                found[rows, : told.shape[1]] = np.where(np.isnan(known), told, known)
            else:
                found[rows, column : column + told.shape[1]] = told
                column += told.shape[1]
        return found


def _name(configuration: Mapping[str, Any]) -> str:
    return json.dumps(dict(configuration), sort_keys=True)


def _moved(losses: Array, to: Array) -> Array:
    """Return losses with the middle of others, by a factor where all are positive; NaN where that is not known."""
    mine, theirs = _levels(losses), _levels(to)
    if len(theirs) < N_OWN or not len(mine):
        return np.full_like(losses, np.nan)
    if min(mine.min(), theirs.min()) > 0:
        return np.asarray(losses * (np.median(theirs) / np.median(mine)))
    return np.asarray(losses + (np.median(theirs) - np.median(mine)))


def _levels(losses: Array) -> Array:
    finite = np.where(np.isfinite(losses), losses, np.nan)
    return np.array([np.nanmedian(row) for row in finite if not np.isnan(row).all()])
