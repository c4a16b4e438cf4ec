"""A race's rule with what it is told beside the losses: hyperparameters, where it learns from them, and who is out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.race.dropping import left_of, seen
from raysearch.race.state import State
from raysearch.rules import Decision, Rule
from raysearch.rules._abilities import Learns


class Informed:
    """The rule of the wave that races: one that learns is told once what the rows are."""

    def __init__(self, rule: Rule, state: State) -> None:
        self._rule, self._state = rule, state
        self._learns = rule if isinstance(rule, Learns) else None  # asked once: it takes as long as some rules do
        self._told: tuple[tuple[int, ...], Rule] | None = None

    def decide(self, losses: NDArray[np.float64], pending: NDArray[np.intp], criterion: Criterion) -> Decision:
        """Return what the rule decides from the losses of `state.members`, of those whom nobody took out."""
        losses, criterion = seen(self._state, losses, criterion)
        return left_of(self.rule.decide(losses, pending, criterion), self._state)

    @property
    def rule(self) -> Rule:
        """The rule for the rows of `state.members`, in their order."""
        if self._learns is None:
            return self._rule
        rows = tuple(self._state.members.tolist())
        if self._told is None or self._told[0] != rows:
            known = [self._state.pool.configurations[row].parameters for row in rows]
            lessons = self._state.learnt.lessons
            further = (lessons,) if lessons else ()  # a rule of a third party may know none
            self._told = rows, self._learns.informed(known, self._state.seeds.search_seed, *further)
        return self._told[1]
