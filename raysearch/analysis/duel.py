"""The leader of a race against its rival: how it stands, and how that went."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysearch.race.race import Race
from raysearch.race.verdict import incumbent
from raysearch.rules._contenders import Contenders

_STEADY = 40
"""A look after every result at first, later one each time that the results have grown by such a part."""


@dataclass(frozen=True)
class Duel:
    """A moment: rows of the pool and their criterion, after `n_told` results.

    `probability` is P(the leader is within delta of the best) where the rule states one. No rival: nobody is left.
    """

    n_told: int
    leader: int
    value: float
    rival: int | None = None
    rival_value: float = math.nan
    probability: float | None = None


def duel(race: Race) -> Duel | None:
    """Return how the leader of a race stands against its rival; None while nothing has finished.

    Where the rule believes something of its contenders (`top_two`), its beliefs name both; else the best two criteria
    of those with most instances do.
    """
    row, value = incumbent(race.state, race.criterion)
    if row is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # losses at the ends of floating point
        return _duel(race, row, value)


def _duel(race: Race, row: int, value: float) -> Duel:
    state, criterion = race.state, race.criterion
    n_told = state.counts["told"]
    verdict = state.verdict
    rows = state.survivors
    losses = state.pool.losses[rows]
    if verdict is None and (believed := _believed(race.rule, rows, losses, criterion)) is not None:
        leader, rival, probability = believed
        values = [math.nan if one is None else float(criterion(losses[one])) for one in (leader, rival)]
        return Duel(n_told, int(rows[leader]), values[0], _row(rows, rival), values[1], probability)
    finished = np.count_nonzero(~np.isnan(losses), axis=1)
    others = np.flatnonzero((finished == finished.max(initial=0)) & (rows != row) & (finished > 0))
    probability = None if verdict is None else verdict.probability
    if not len(others):
        return Duel(n_told, row, value, probability=probability)
    values_ = np.asarray(criterion(losses[others]))
    best = int(np.argmin(values_))
    return Duel(n_told, row, value, int(rows[others[best]]), float(values_[best]), probability)


def _row(rows: Any, index: int | None) -> int | None:
    return None if index is None else int(rows[index])


def _believed(rule: Any, rows: Any, losses: Any, criterion: Any) -> tuple[int, int | None, float | None] | None:
    """Return leader and rival as indices of `losses`, and P(the leader is within delta); None for other rules."""
    if not (hasattr(rule, "delta") and hasattr(rule, "prior_dof")) or len(rows) < 2 or len(rows) > rule.keep:
        return None
    beliefs = Contenders.of(losses, criterion, rule.cap, rule.prior_dof) if losses.shape[1] else None
    if beliefs is None or not np.isfinite(beliefs.theta[beliefs.leader]):
        return None
    danger = beliefs.rival(beliefs.n, rule.delta)
    probability = float(np.prod(1 - danger) * beliefs.excuse(beliefs.n)[beliefs.leader])
    danger[beliefs.leader] = -1.0
    rival = int(np.argmax(danger))
    known = bool(beliefs.n[rival])
    return beliefs.leader, rival if known else None, probability if beliefs.table.claims else None


class Trace:
    """How the duel went, in moments that grow rarer as a race grows longer."""

    def __init__(self) -> None:
        self.moments: list[Duel] = []
        self._next = 1

    def look(self, race: Race, *, cut: bool) -> None:
        """Look at a race after a result or a `cut`, if it is worth it."""
        n_told = race.state.counts["told"]
        if n_told < self._next and not cut:
            return
        self._next = n_told + max(1, n_told // _STEADY)
        moment = duel(race)
        if moment is not None and (not self.moments or moment != self.moments[-1]):
            self.moments.append(moment)
