"""Rule `surrogate` once it knows the hyperparameters of its configurations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.rules import Decision, RuleVerdict
from raysearch.rules._encoding import Encoding
from raysearch.rules._exploration import SHARES, Exploration
from raysearch.rules._lessons import Lessons
from raysearch.rules._small_samples import small_samples

if TYPE_CHECKING:
    from raysearch.rules.surrogate import Surrogate

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

MOST_AFTER = sum(most for _, most in SHARES[:-1])
"""So many second and third instances are trained at most, in finalists."""
STEPS = 3
"""Instances that every finalist has when `top_two` takes over."""


@dataclass(frozen=True, eq=False)
class Informed:
    """The rule, and the hyperparameters of the configurations that it decides on."""

    rule: Surrogate
    encoding: Encoding
    lessons: Lessons

    def decide(self, losses: Array, pending: Rows, criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)`; see the room's contract."""
        rule = self.rule
        if len(losses) <= rule.start:
            return rule.decide(losses, pending, criterion)
        if not losses.shape[1]:  # so that every criterion finds a column
            losses = np.full((len(losses), 1), np.nan)
        first = small_samples(criterion, rule.cap).n_least
        spent = int(np.count_nonzero(~np.isnan(losses)) + pending.sum())
        budget = self._budget(first)
        if budget is not None and spent >= budget:
            return Decision(n_awaited=int(pending.sum())) if pending.any() else self._spent(losses, criterion, first)
        rows, cuts, decision = self._exploration(first).finalists_of(losses, pending, criterion)
        if decision is None:
            left = None if budget is None else budget - spent
            decision = self._final(rows, losses, pending, criterion, first + STEPS - 1, left)
        n_cuts = len(cuts)
        decision = replace(decision, eliminated=tuple(cuts), round=n_cuts + 1)
        if budget is None or decision.verdict is not None:
            return decision
        train = decision.train[: budget - spent]
        return replace(decision, train=train, n_awaited=min(decision.n_awaited, len(train) + int(pending.sum())))

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the least and the greatest number of instances, as the lessons leave less to be tried at random."""
        own = self.rule.plan(n_configurations)  # raises ValueError
        if n_configurations <= self.rule.start:
            return own
        return self.rule.bounds(n_configurations, self.lessons.start(self.rule.start))

    def _budget(self, first: int) -> int | None:
        """Return the budget, which the first instances of all that are tried at random may exceed, as in `top_two`."""
        budget = self.rule.budget
        return None if budget is None else max(budget, first * self.lessons.start(self.rule.start))

    def _exploration(self, first: int) -> Exploration:
        known: Exploration | None = self.__dict__.get("_made")
        if known is None:
            rule = self.rule
            limit = min(rule.explore or self.lessons.n, self.lessons.n)
            if rule.budget is not None:  # something must be left for the finalists
                later = MOST_AFTER * rule.finalists + 2 * rule.certify + -(-rule.start // 3)
                limit = min(limit, max((rule.budget - later) // first, rule.start))
            known = Exploration(
                self.encoding,
                self.lessons,
                self.lessons.start(rule.start),
                rule.batch,
                rule.doubt,
                rule.finalists,
                rule.delta,
                rule.cap,
                limit,
            )
            object.__setattr__(self, "_made", known)
        return known

    def _final(
        self, rows: Rows, losses: Array, pending: Rows, criterion: Criterion, first: int, left: int | None
    ) -> Decision:
        """Let the finalists race: from here on no more is trained than `finalists` of them would train to the cap.

        `left` is what a budget leaves, at least one instance: the race never sees it spent.
        """
        bound = self.rule.finalists * self.rule.cap + first * max(len(rows) - self.rule.finalists, 0)
        said = f"{bound} instances (finalists x cap, and the first ones) do not tell the best apart"
        spent = int(np.count_nonzero(~np.isnan(losses[rows])) + pending[rows].sum())
        race = self.rule.race(bound if left is None else min(bound, spent + left), first, said)
        decision = race.decide(losses[rows], pending[rows], criterion)
        named = replace(decision, train=tuple(rows[list(decision.train)].tolist()))
        if decision.verdict is None:
            return named
        verdict = decision.verdict.by(lambda row: int(rows[row]))
        return replace(named, verdict=self._told(verdict, rows, losses, criterion))

    def _spent(self, losses: Array, criterion: Criterion, first: int) -> Decision:
        """Return the verdict on what the budget has trained, whoever was to go on."""
        idle = np.zeros(len(losses), dtype=np.intp)
        rows, cuts, _ = self._exploration(first).finalists_of(losses, idle, criterion)
        rows = rows[~np.isnan(losses[rows, first - 1])]
        spent = int(np.count_nonzero(~np.isnan(losses[rows])))
        said = self.rule.race(self.rule.budget).spent
        verdict = self.rule.race(spent, bound=said).decide(losses[rows], idle[rows], criterion).verdict
        assert verdict is not None
        if said not in verdict.note:  # the race had ended at that very instance
            verdict = replace(verdict, note="; ".join([said, *([verdict.note] if verdict.note else [])]))
        told = self._told(verdict.by(lambda row: int(rows[row])), rows, losses, criterion)
        return Decision((), tuple(cuts), told, len(cuts) + 1)

    def _told(self, verdict: RuleVerdict[int], rows: Rows, losses: Array, criterion: Criterion) -> RuleVerdict[int]:
        """Return a verdict that says what is claimed of whom, and by what."""
        exploration = self._exploration(small_samples(criterion, self.rule.cap).n_least)
        trained = ~np.isnan(losses).all(axis=1)
        n, n_trained = len(losses), int(trained.sum())
        dropped = np.flatnonzero(trained)
        dropped = dropped[~np.isin(dropped, rows)]
        about = "the certificate is about the last" if verdict.certified else "what is claimed is about the last"
        if verdict.probability is None:
            about = "the race was among the last"
        said = f"{n_trained:,} of {n:,} configurations were trained, {about} {len(rows)}"
        by_model = []
        for who, some in (("never trained", np.flatnonzero(~trained)), ("trained and dropped", dropped)):
            chance = exploration.chance(losses, criterion, verdict.leader, some)
            if chance is not None:
                shown = f"{chance:.2f}" if chance >= 0.01 else "below 0.01"
                by_model.append(f"one of the {len(some):,} {who} is, with probability {shown}")
        if by_model:
            better = f"more than {100 * self.rule.delta:.3g} % better"
            said += f"; of the others nothing is claimed, but by the model of their neighbours {better} "
            said += ", and ".join(by_model)
        return replace(verdict, note="; ".join([*([verdict.note] if verdict.note else []), said]))
