"""What earlier searches of the same workload have taught a race, and which instances need not be trained again.

An instance is a configuration and a seed. So what an earlier search trained counts where it is the very instance that
this one asks for, by the same workload settings and the same seed: it is told at once, in its turn, and every decision
is what it would have been had it been trained again. All else teaches only, and nothing is certified by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from raysearch.records import Configuration, InstanceKey, InstanceResult, TrialRequest
from raysearch.rules import Rule
from raysearch.rules._abilities import Learns
from raysearch.rules._lessons import Lesson
from raysearch.seeds import Seeds
from raysearch.storage.events import Learn

if TYPE_CHECKING:
    from raysearch.race.state import State


@dataclass
class Learnt:
    """The earlier searches that a race has been taught by, in their order."""

    searches: list[Learn] = field(default_factory=list)
    _known: dict[InstanceKey, InstanceResult] = field(default_factory=dict)

    def take(self, event: Learn) -> None:
        """Take in what an earlier search teaches."""
        self.searches.append(event)
        if event.counts:
            told = {one.key: replace(one, node=f"learnt from {event.run}") for one in event.results}
            self._known = {**told, **self._known}

    def split(self, requests: Sequence[TrialRequest]) -> tuple[list[InstanceResult], list[TrialRequest]]:
        """Return the results of `requests` that are known already, and what is left of them to be trained."""
        if not self._known:
            return [], list(requests)
        known = [self._known[key] for request in requests for key in request.keys if key in self._known]
        rest = [_without(request, self._known) for request in requests]
        return known, [request for request in rest if request.seeds]

    @property
    def lessons(self) -> tuple[Lesson, ...]:
        """What they teach a rule that learns."""
        return tuple(map(_lesson, self.searches))

    def n_told(self, state: State, search: Learn) -> int:
        """Return how many instances of an earlier search were told to a race as its own."""
        if not search.counts:
            return 0
        rows = state.pool.rows
        keys = [one.key for one in search.results if one.key.configuration_id in rows]
        return sum(state.pool.finished(rows[key.configuration_id], state.seeds.index(key.seed)[1]) for key in keys)


def _without(request: TrialRequest, known: dict[InstanceKey, InstanceResult]) -> TrialRequest:
    seeds = tuple(key.seed for key in request.keys if key not in known)
    return request if len(seeds) == len(request.seeds) else replace(request, seeds=seeds)


def _lesson(event: Learn) -> Lesson:
    place = {one.id: row for row, one in enumerate(event.configurations)}
    seeds = Seeds(event.seed)
    cells = [(place[one.key.configuration_id], seeds.index(one.key.seed)[1], one.loss) for one in event.results]
    losses = np.full((len(place), max((column for _, column, _ in cells), default=-1) + 1), np.nan)
    for row, column, loss in cells:
        losses[row, column] = loss
    return Lesson([one.parameters for one in event.configurations], losses, event.alike, event.counts)


def sentences(state: State) -> list[str]:
    """Return in words what was learnt, from where, and what of it counts."""
    return [_sentence(state, search) for search in state.learnt.searches]


def _sentence(state: State, search: Learn) -> str:
    said = f"learnt from {search.run} ({search.name}): {n_of(search)}"
    if not search.counts:
        return f"{said}; none of them counts here: {search.reason}"
    return f"{said}; {state.learnt.n_told(state, search)} of them count here and were not trained again"


def taught(rule: Rule, configurations: Sequence[Configuration], seed: int, searches: Sequence[Learn]) -> Rule:
    """Return a rule that knows what earlier searches teach it; as it is where it learns nothing."""
    if not searches or not isinstance(rule, Learns):
        return rule
    return rule.informed([one.parameters for one in configurations], seed, tuple(map(_lesson, searches)))


def planned(search: Learn) -> str:
    """Return in words what a search that has not begun would learn."""
    counts = f"none of them counts: {search.reason}" if search.reason else "those asked for here are not trained again"
    return f"from {search.run} ({search.name}): {n_of(search)}; {counts}"


def n_of(search: Learn) -> str:
    """Return in words how much an earlier search teaches."""
    return f"{len(search.results):,} instances of {len(search.configurations):,} configurations"
