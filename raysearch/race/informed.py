"""What a rule is told beside the losses: the hyperparameters of a wave's configurations, where it learns from them."""

from __future__ import annotations

from raysearch.race.state import State
from raysearch.rules import Rule
from raysearch.rules._abilities import Learns


class Informed:
    """The rule of the wave that races: one that learns is told once what the rows are."""

    def __init__(self, rule: Rule, state: State) -> None:
        self._rule, self._state = rule, state
        self._told: tuple[tuple[int, ...], Rule] | None = None

    @property
    def rule(self) -> Rule:
        """The rule for the rows of `state.members`, in their order."""
        if not isinstance(self._rule, Learns):
            return self._rule
        rows = tuple(self._state.members.tolist())
        if self._told is None or self._told[0] != rows:
            known = [self._state.pool.configurations[row].parameters for row in rows]
            self._told = rows, self._rule.informed(known, self._state.seeds.search_seed)
        return self._told[1]
