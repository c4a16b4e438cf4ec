"""Confirmation instances: which the winners were given, and what came of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from raysearch.records import InstanceResult


@dataclass
class Confirmations:
    """By row of the pool: a winner keeps its confirmation instances when another takes its place, and comes again."""

    results: dict[int, dict[int, InstanceResult]] = field(default_factory=dict)
    """By row and index, those that have ended."""
    asked: dict[int, set[int]] = field(default_factory=dict)
    """By row, the indices handed out and not stopped."""

    def hand_out(self, row: int, index: int) -> None:
        """Note that an instance runs; raises ValueError for one that is not the row's next, or one before it."""
        asked = self.asked.setdefault(row, set())
        if index > max(asked, default=-1) + 1:
            raise ValueError(f"confirmation instance {index} is asked for before those in front of it")
        asked.add(index)

    def record(self, row: int, index: int, result: InstanceResult) -> None:
        """Note how an instance ended."""
        self.results.setdefault(row, {})[index] = result

    def give_up(self, row: int, index: int) -> None:
        """Note that an instance was stopped, or is taken back: the same winner may come again and will need it."""
        self.results.get(row, {}).pop(index, None)
        self.asked[row].discard(index)

    def n_asked(self, row: int) -> int:
        """Return how many a row was given, those stopped on the way not counted."""
        return len(self.asked.get(row, ()))

    def next(self, row: int, n: int, wanted: int) -> list[int]:
        """Return the next `n` indices of a row, those stopped on the way first; no more than are `wanted` in all."""
        asked = self.asked.get(row, set())
        n = max(min(n, wanted - len(asked)), 0)
        return list(itertools.islice((index for index in itertools.count() if index not in asked), n))
