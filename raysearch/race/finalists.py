"""The confirmation: of the race's winner alone, or of several finalists on the same fresh seeds, the best of whom wins.

What is decided follows from the finalists' instances in the order of their columns, whoever finished first: it is what
it would have been, had the race been asked for so many finalists and instances from its beginning.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.criteria.summary import summarize
from raysearch.race.separation import ALPHA, leader, looks, p_values
from raysearch.race.state import State
from raysearch.records import Finalist
from raysearch.storage import events as e


def ranked(state: State, criterion: Criterion) -> list[int]:
    """Return rows as the race ended, the best first: its leader, who was left, and then who lasted longest.

    Among those who lasted as long the criterion decides, over the instances that count. Who was never trained, dropped
    or screened out is none of them, nor whose criterion is not finite.
    """
    if state.verdict is None:
        return []
    first, pool = state.verdict.leader, state.pool
    places: dict[int, tuple[float, float, int]] = {}
    for cut in state.eliminations:
        if cut.round and cut.n_instances and not cut.reason:
            for id_, value in zip(cut.configurations, cut.values, strict=True):
                places[pool.rows[id_]] = (-cut.n_instances, value, pool.rows[id_])
    for row in np.flatnonzero(pool.alive).tolist():
        losses = pool.judged_losses(row)
        value = float(criterion(losses)) if (losses == losses).any() else math.nan
        places[row] = (-math.inf, value, row)
    others = [
        row for row, (_, value, _) in places.items() if math.isfinite(value) and row not in {first, *taken_out(state)}
    ]
    return [*([] if first in state.dropped else [first]), *sorted(others, key=places.__getitem__)]


def taken_out(state: State) -> set[int]:
    """Return the rows that a person dropped or that were screened out, also after they had raced."""
    screened = [cut.configurations[0] for cut in state.eliminations if not cut.round and not cut.reason]
    return {*state.dropped, *map(state.pool.rows.__getitem__, screened)}


class Contest:
    """Says which confirmation instances come next, and what follows from those that have ended.

    Args:
        state: of the race.
        criterion: that of the race.
        n_instances: fresh-seed instances of each finalist.
        n_finalists: how many are confirmed; 1 is the race's winner alone.
    """

    def __init__(self, state: State, criterion: Criterion, n_instances: int, n_finalists: int) -> None:
        self.state, self._criterion = state, criterion
        self._n_instances, self._n_finalists = n_instances, n_finalists
        self._looked: dict[tuple[int, bytes], NDArray[np.float64]] = {}

    @property
    def over(self) -> bool:
        """Whether the race is, and all is confirmed that is wanted."""
        state, own = self.state, self.state.confirmations
        if not state.final:
            return False
        if self._several:
            return self._agreed and own.winner is not None
        return not own.finalists and len(state.confirmation) >= self._n_instances

    @property
    def n_left(self) -> int:
        """How many instances are still to be asked for, at most; before the race is over, all of them."""
        state, own = self.state, self.state.confirmations
        if not self._several:
            winner = None if state.winner is None or not state.final else state.winner
            return max(self._n_instances - (0 if winner is None else own.n_asked(winner)), 0)
        if not state.final or not self._agreed:
            return self._n_instances * min(self._n_finalists, max(len(state.pool.configurations), 1))
        return sum(len(own.missing(row, self._n_instances)) for row in state.contenders) if own.winner is None else 0

    def due(self) -> e.Finalists | e.Separate | e.Confirm | None:
        """Return what follows next from what has ended: it is to be committed before this is asked again."""
        state, own = self.state, self.state.confirmations
        if not state.final:
            return None
        if not self._several:
            return e.Finalists(()) if own.finalists else None
        if not self._agreed:
            ids = tuple(map(state.pool.id, self._chosen()))
            return e.Finalists(ids, self._n_finalists, self._n_instances)
        if own.winner is not None:
            return None
        for n in looks(self._n_instances):
            playing = [row for row in own.finalists if row not in state.dropped and self._plays(row, n)]
            losses = self._losses(playing, n)
            if losses is None:
                return None
            p, best = self._p_values(losses), state.pool.id(playing[leader(losses, self._criterion)])
            for row, one in zip(playing, p.tolist(), strict=True):
                if one <= self._alpha and row not in own.separated:
                    return e.Separate(state.pool.id(row), n, best, one)
        left = state.contenders
        losses = self._losses(left, self._n_instances)
        assert losses is not None
        return e.Confirm(state.pool.id(left[leader(losses, self._criterion)]), self._n_instances)

    def next(self, block: int) -> tuple[int, list[int]] | None:
        """Return whom to train next, and up to `block` of its indices; None: wait for what runs, or it is over.

        Finalists take turns, column by column, up to the next look.
        """
        state, own = self.state, self.state.confirmations
        if not state.final or state.winner is None or self.over:
            return None
        if not self._several:
            indices = own.next(state.winner, block, self._n_instances)
            return (state.winner, indices) if indices else None
        for n in looks(self._n_instances):
            row = max(state.contenders, key=lambda row: len(own.missing(row, n)))
            if missing := own.missing(row, n):
                return row, missing[:block]
            if self._losses(state.contenders, n) is None:
                return None
        return None

    def fresh(self, row: int) -> list[float]:
        """Return the losses of a finalist on fresh seeds that count, in the order of its instances."""
        own = self.state.confirmations
        separate = own.separated.get(row)
        n = own.n_instances if separate is None else separate.n_instances
        return [one.loss for index, one in sorted(own.results.get(row, {}).items()) if index < n]

    def finalists(self) -> tuple[Finalist, ...]:
        """Return who was confirmed, the winner first, then the others, best first; dropped ones are left out."""
        state, own = self.state, self.state.confirmations
        found = []
        for place, row in enumerate(own.finalists, start=1):
            separate, fresh = own.separated.get(row), self.fresh(row)
            if fresh and row not in state.dropped:
                raced = summarize(state.pool.judged_losses(row), self._criterion)
                told = (False, None) if separate is None else (True, separate.p)
                found.append(Finalist(state.pool.id(row), place, raced, summarize(fresh, self._criterion), *told))
        winner = None if own.winner is None else state.pool.id(own.winner)

        def standing(one: Finalist) -> tuple[bool, bool, float, int]:
            value = math.inf if math.isnan(one.fresh.criterion) else one.fresh.criterion
            return one.configuration_id != winner, one.separated, value, one.place

        return tuple(sorted(found, key=standing))

    @property
    def _several(self) -> bool:
        verdict = self.state.verdict
        out = verdict is not None and verdict.leader in self.state.dropped  # by a person, when it was being confirmed
        return self._n_instances > 0 and (self._n_finalists > 1 or out)

    @property
    def _agreed(self) -> bool:
        own = self.state.confirmations
        return (own.n_finalists, own.n_instances) == (self._n_finalists, self._n_instances)

    @property
    def _alpha(self) -> float:
        n_rivals = max(len(self.state.confirmations.finalists) - 1, 1)
        return ALPHA / (n_rivals * len(looks(self._n_instances)))

    def _chosen(self) -> list[int]:
        rows, earlier = ranked(self.state, self._criterion)[: self._n_finalists], self.state.confirmations.earlier
        if earlier is not None and earlier not in {*rows, *taken_out(self.state)}:
            rows = [*rows[: self._n_finalists - 1], earlier]
        return rows

    def _plays(self, row: int, n: int) -> bool:
        """Return whether a finalist had not been told from the best before the look after `n` instances."""
        separate = self.state.confirmations.separated.get(row)
        return separate is None or separate.n_instances >= n

    def _losses(self, rows: list[int], n: int) -> NDArray[np.float64] | None:
        """Return the first `n` losses of rows, `(n_rows, n)`; None unless all of them have ended."""
        own = [self.state.confirmations.results.get(row, {}) for row in rows]
        if any(index not in results for results in own for index in range(n)):
            return None
        return np.array([[results[index].loss for index in range(n)] for results in own])

    def _p_values(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        key = losses.shape[1], losses.tobytes()
        if key not in self._looked:
            generator = np.random.default_rng([self.state.seeds.search_seed, losses.shape[1]])
            self._looked[key] = p_values(losses, self._criterion, generator)
        return self._looked[key]
