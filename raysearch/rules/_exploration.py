"""How `surrogate` finds its finalists: which configurations are trained at all, and which of them go on."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.rules import Decision, Elimination
from raysearch.rules._encoding import Encoding
from raysearch.rules._lessons import Lessons
from raysearch.rules._rounds import cut, in_steps, open_round
from raysearch.rules._small_samples import small_samples
from raysearch.rules._targets import Learnt

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

N_DRAWS = 512
SHARES = ((4, 4), (2, 4), (1, 3))
"""After each instance so many go on, fewest and most, in finalists: whoever cannot be told from the best."""
CUT_DOUBT = 0.02
"""A cut is allowed that probability to drop one more than delta better than all that it keeps."""
N_KEPT = 8
"""So many fits are kept: a decision among the finalists asks for the same ones again."""


@dataclass(frozen=True, eq=False)
class _Ended:
    """An exploration that has ended: by whose losses, who is left, and the cuts."""

    known: Array
    rows: Rows
    cuts: tuple[Elimination[int], ...]

    def holds(self, losses: Array) -> bool:
        """Whether it ends so by `losses` too: what it rests on is there, unchanged, and nobody is out."""
        head, used = losses[:, : self.known.shape[1]], ~np.isnan(self.known)
        if head.shape != self.known.shape or (head == -np.inf).any() or (losses[self.rows] == -np.inf).any():
            return False
        same_rows = np.count_nonzero(used[:, 0]) == np.count_nonzero(~np.isnan(head[:, 0]))
        return bool(same_rows and np.array_equal(head[used], self.known[used]))


@dataclass(frozen=True, eq=False)
class Exploration:
    """One wave's configurations, and how they are explored; see `Surrogate` for the parameters.

    Every decision rests on cells of the matrix that no later decision fills: first instances while it explores, then
    one more instance of the best. So cuts stand when the matrix grows, and a resumed search makes the same.
    """

    encoding: Encoding
    lessons: Lessons
    start: int
    batch: int
    doubt: float
    finalists: int
    delta: float
    cap: int
    limit: int
    """Most configurations to be trained."""
    _fits: OrderedDict[bytes, Learnt | None] = field(default_factory=OrderedDict, init=False, repr=False)
    _chosen: dict[bytes, tuple[int, ...]] = field(default_factory=dict, init=False, repr=False)
    _kept: dict[bytes, int] = field(default_factory=dict, init=False, repr=False)
    _ended: list[_Ended] = field(default_factory=list, init=False, repr=False)

    def finalists_of(
        self, losses: Array, pending: Rows, criterion: Criterion
    ) -> tuple[Rows, list[Elimination[int]], Decision | None]:
        """Return who is left, the cuts, and what is to be trained or waited for before anybody else can be cut."""
        if (ended := self._ended_by(losses)) is not None:
            return ended.rows, list(ended.cuts), None
        first = small_samples(criterion, self.cap).n_least
        known = self._first_instances(losses, first)
        everyone = np.arange(len(losses))
        waiting = self._open(losses, pending, criterion, known, first)
        if waiting is not None:
            return everyone, [], waiting
        rows, cuts = self._leave_untrained(known, criterion)
        for depth, (fewest, most) in enumerate(SHARES):
            fewest, most = fewest * self.finalists, most * self.finalists
            out = (losses[rows, : first + depth] == -np.inf).any(axis=1)
            expected = np.where(out, np.nan, self._expected(known, criterion)[rows])
            keep = self._undecided(known, criterion, rows, expected, fewest, most)
            if len(rows) > keep:
                rows, gone = cut(rows, expected, keep, first + depth, len(cuts) + 1)
                cuts.append(gone)
            if depth + 1 < len(SHARES):
                waiting = open_round(losses, pending, criterion, rows, first + depth + 1, 0)
                if waiting is not None:
                    return rows, cuts, waiting
                known[rows, : first + depth + 1] = _known(losses)[rows, : first + depth + 1]
        self._ended[:] = [_Ended(known, rows, tuple(cuts))]
        return rows, cuts, None

    def _undecided(
        self, known: Array, criterion: Criterion, rows: Rows, expected: Array, fewest: int, most: int
    ) -> int:
        """Return how many of `rows` go on: so many that hardly one of the others may be delta better than their best.

        That is by draws of the surface, the instances of each counted; at least `fewest`, at most `most`.
        """
        if len(rows) <= fewest or fewest == most:
            return fewest
        key = _digest(known, rows, fewest, most, criterion)
        if key not in self._kept:
            learnt = self._learn(known, criterion)
            if learnt is None:
                return most
            order = np.argsort(expected, kind="stable")[: int(np.count_nonzero(~np.isnan(expected)))]
            generator = np.random.default_rng([self.encoding.seed, 2, len(rows)])
            drawn = learnt.surface.draw(generator, N_DRAWS, rows[order])
            best = learnt.scale.below(np.minimum.accumulate(drawn, axis=0), self.delta)
            rest = np.minimum.accumulate(drawn[::-1], axis=0)[::-1]
            doubt = (rest[1:] < best[:-1]).mean(axis=1)  # of keeping 1, 2, ...
            enough = np.flatnonzero(doubt <= CUT_DOUBT)
            self._kept[key] = int(np.clip(enough[0] + 1 if len(enough) else len(order), fewest, most))
        return self._kept[key]

    def chance(self, losses: Array, criterion: Criterion, leader: int, among: Rows) -> float | None:
        """Return the probability, by the surface alone, that one of `among` is more than delta better than `leader`.

        That is by the surface that the cuts were made by, against what the leader's losses came to: of the many losses
        of few finalists it would learn small spreads, and then believe single lucky losses of others.
        """
        ended = self._ended_by(losses)
        known = losses if ended is None else ended.known
        learnt, value = self._learn(known, criterion), float(criterion(losses[leader]))
        if learnt is None or not len(among) or not np.isfinite(value):
            return None
        drawn = learnt.surface.draw(self._generator(int(np.count_nonzero(~np.isnan(losses)))), N_DRAWS)
        bar = learnt.scale.there(np.array([value - self.delta * abs(value)]))
        return float((drawn[among].min(axis=0) < bar).mean())

    def _ended_by(self, losses: Array) -> _Ended | None:
        """Return how the exploration has ended, where it ends so by `losses`."""
        return next((ended for ended in self._ended if ended.holds(losses)), None)

    def _first_instances(self, losses: Array, first: int) -> Array:
        """Return what exploration looks at: first instances, and a second one of those that tell the spread."""
        losses = _known(losses)
        known = np.full((len(losses), max(first + 2, 2)), np.nan)
        width = min(first, losses.shape[1])
        known[:, :width] = losses[:, :width]
        width = min(max(first, 2), losses.shape[1])
        twice = self._order[: self.n_twice]
        known[twice, :width] = losses[twice, :width]
        known[np.isnan(known[:, :first]).any(axis=1)] = np.nan
        return known

    @property
    def n_twice(self) -> int:
        """How many configurations train a second instance at once, for the spread."""
        return -(-self.start // 3)

    @property
    def _order(self) -> Rows:
        return np.random.default_rng([self.encoding.seed, 0]).permutation(self.lessons.n)

    def _generator(self, n_started: int) -> np.random.Generator:
        return np.random.default_rng([self.encoding.seed, 1, n_started])

    def _open(self, losses: Array, pending: Rows, criterion: Criterion, known: Array, first: int) -> Decision | None:
        """Return what exploration trains or waits for next, None once it has ended and all its instances have."""
        started = np.count_nonzero(~np.isnan(losses), axis=1) + pending
        order = self._order
        wanted = np.where(started > 0, first, 0)
        wanted[order[: self.start]] = first
        wanted[order[: self.n_twice]] = max(first, 2)
        there = ~np.isnan(losses[:, : max(first, 2)])
        lacking = wanted - np.count_nonzero(there & (np.arange(there.shape[1]) < wanted[:, None]), axis=1)
        lacking[(losses == -np.inf).any(axis=1)] = 0
        owed = np.maximum(lacking - pending, 0)
        if owed.any():
            return Decision(in_steps(np.arange(len(losses)), owed))
        key = _digest(known, started > 0, criterion)
        if key not in self._chosen:  # in the race of the finalists it is asked for again and again
            self._chosen.clear()
            self._chosen[key] = self._next(started, known, criterion, first)
        fresh = self._chosen[key]
        if fresh:
            return Decision(tuple(row for row in fresh for _ in range(first)))
        return Decision(n_awaited=int(lacking.sum())) if lacking.any() else None

    def _next(self, started: Rows, known: Array, criterion: Criterion, first: int) -> tuple[int, ...]:
        """Return the configurations to be trained for the first time; none: exploration has ended."""
        left = min(self.batch, self.limit - int(np.count_nonzero(started)))
        untrained = np.flatnonzero(started == 0)
        if left <= 0 or not len(untrained):
            return ()
        at_random = tuple(row for row in self._order.tolist() if not started[row])[:left]
        if np.count_nonzero(~np.isnan(known[:, 0])) < self.start // 2:  # a wide window: workers do not wait
            return at_random
        learnt = self._learn(known, criterion)
        if learnt is None:
            return at_random
        drawn = learnt.surface.draw(self._generator(int(np.count_nonzero(started))), N_DRAWS)[: self.lessons.n]
        best = drawn[started > 0].min(axis=0)
        fresh = drawn[untrained]
        if (fresh.min(axis=0) < learnt.scale.below(best, self.delta)).mean() < self.doubt:
            return ()
        chosen: dict[int, None] = {}
        for draw in fresh.T:
            pick = int(np.argmin(np.where(np.isin(np.arange(len(fresh)), list(chosen)), np.inf, draw)))
            chosen[pick] = None
            if len(chosen) == min(left, len(untrained)):
                break
        return tuple(int(untrained[pick]) for pick in chosen)

    def _leave_untrained(self, known: Array, criterion: Criterion) -> tuple[Rows, list[Elimination[int]]]:
        """Return who was trained, and the cut of all others: of 0 instances, by what the surface expects of them."""
        trained = ~np.isnan(known[:, 0])
        rows, others = np.flatnonzero(trained), np.flatnonzero(~trained)
        if not len(others):
            return rows, []
        expected = self._expected(known, criterion)
        cutoff = float(expected[rows].min())
        names, values = tuple(others.tolist()), tuple(expected[others].tolist())
        return rows, [Elimination(1, cutoff, 0, names, values)]

    def _expected(self, known: Array, criterion: Criterion) -> Array:
        learnt = self._learn(known, criterion)
        if learnt is None:  # all diverged
            return np.where(np.isnan(known[:, 0]), 0.0, np.inf)
        return learnt.expected[: self.lessons.n]

    def _learn(self, losses: Array, criterion: Criterion) -> Learnt | None:
        """Return what `losses` teach; the last few answers are kept."""
        losses = self.lessons.beside(_known(losses))
        key = _digest(losses, criterion)
        if key not in self._fits:
            self._fits[key] = Learnt.of(self.encoding, losses, criterion, self.cap)
            while len(self._fits) > N_KEPT:
                self._fits.popitem(last=False)
        return self._fits[key]


def _known(losses: Array) -> Array:
    """Return what is learnt from: of rows that a person took out, too, without the -inf among their losses."""
    out = losses == -np.inf
    if not out.any():
        return losses
    known = losses.copy()
    for row, column in np.argwhere(out):
        known[row, column:] = [*losses[row, column + 1 :], np.nan]
    return known


def _digest(*parts: object) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(
            part.tobytes() + repr(part.shape).encode() if isinstance(part, np.ndarray) else repr(part).encode()
        )
    return found.digest()
