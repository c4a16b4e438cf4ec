"""Confirmation instances: which finalists were given, what came of them, and who won."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from raysearch.records import InstanceResult
from raysearch.storage.events import Confirm, Finalists, Separate


@dataclass
class Confirmations:
    """By row of the pool: a winner keeps its confirmation instances when another takes its place, and comes again."""

    results: dict[int, dict[int, InstanceResult]] = field(default_factory=dict)
    """By row and index, those that have ended."""
    asked: dict[int, set[int]] = field(default_factory=dict)
    """By row, the indices handed out and not stopped."""
    finalists: tuple[int, ...] = ()
    """Rows that are confirmed on the same instances, in the race's order; none where its winner alone is confirmed."""
    n_finalists: int = 0
    """How many were wanted, and"""
    n_instances: int = 0
    """over how many instances each, when they were chosen."""
    separated: dict[int, Separate] = field(default_factory=dict)
    """Of finalists, in the order in which they were told from the best."""
    winner: int | None = None
    """Which of the finalists won."""
    earlier: int | None = None
    """Who won before the race went on: it is a finalist again."""

    def apply(self, event: Finalists | Separate | Confirm, rows: Mapping[str, int]) -> None:
        """Take in what came of the finalists; `rows` are those of the pool, by id."""
        if isinstance(event, Finalists):
            self.finalists = tuple(rows[id_] for id_ in event.configurations)
            self.n_finalists, self.n_instances = event.n_finalists, event.n_instances
            self.separated, self.winner = {}, None
        elif isinstance(event, Separate):
            self.separated[rows[event.configuration_id]] = event
        else:
            self.winner = rows[event.configuration_id]

    def close(self) -> None:
        """Note that the race goes on: its finalists will be others."""
        self.earlier = self.earlier if self.winner is None else self.winner
        self.finalists, self.n_finalists, self.n_instances, self.separated, self.winner = (), 0, 0, {}, None

    def hand_out(self, row: int, index: int) -> None:
        """Note that an instance runs; raises ValueError for one that is not the row's next, or one before it."""
        asked = self.asked.setdefault(row, set())
        if index > max(asked, default=-1) + 1:
            raise ValueError(f"confirmation instance {index} is asked for before those in front of it")
        asked.add(index)

    def record(self, row: int, index: int, result: InstanceResult) -> None:
        """Note how an instance ended."""
        light = result if result.weights is None else dataclasses.replace(result, weights=None)
        self.results.setdefault(row, {})[index] = light

    def give_up(self, row: int, index: int) -> None:
        """Note that an instance was stopped: the same configuration may be confirmed again and will need it."""
        self.results.get(row, {}).pop(index, None)
        self.asked[row].discard(index)

    def take_back(self, row: int, index: int) -> None:
        """Forget an instance that had failed for good, and what was decided from it."""
        self.give_up(row, index)
        self.separated, self.winner = {}, None

    def n_asked(self, row: int) -> int:
        """Return how many a row was given, those stopped on the way not counted."""
        return len(self.asked.get(row, ()))

    def next(self, row: int, n: int, wanted: int) -> list[int]:
        """Return the next `n` indices of a row, those stopped on the way first; no more than are `wanted` in all."""
        asked = self.asked.get(row, set())
        n = max(min(n, wanted - len(asked)), 0)
        return list(itertools.islice((index for index in itertools.count() if index not in asked), n))

    def missing(self, row: int, n: int) -> list[int]:
        """Return which of a row's first `n` indices were not handed out."""
        asked = self.asked.get(row, set())
        return [index for index in range(n) if index not in asked]
