"""The window: what a rule may see, so that its decisions do not depend on who finishes first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raysearch.race.state import State
from raysearch.rules import Rule
from raysearch.rules._abilities import Windowed


def width_for(rule: Rule, n_slots: int, width: int) -> int:
    """Return the window that a rule wants: of its own choice the `width` that there is, or else twice the slots."""
    wanted = rule.wanted_window if isinstance(rule, Windowed) else None
    return (width or 2 * n_slots) if wanted == "auto" else wanted or 0


class Sight:
    """How far a rule sees: the results of the first instances that were asked for, of all of them and of no others.

    After it has asked for more it may see up to `state.window` asks ago; where it asked for nothing, it looks again
    when as many results more are there as it waits for.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.n_seen = state.n_seen  # as far as the driver before saw when its rule decided last
        self._n_more = 0
        self._looked_at: tuple[int, ...] | None = None

    @property
    def n_known(self) -> int | None:
        """How many asks what the rule decides now rests on; None where there is no window."""
        return self.n_seen if self._state.window else None

    def has_news(self) -> bool:
        """Return whether the rule is to look now: whether all that it is to see next has ended, and it saw less."""
        state, n_asked = self._state, len(self._state.asked)
        goal = min(n_asked, max(n_asked - state.window, self.n_seen + self._n_more))
        while self.n_seen < goal and self._ended(*state.asked[self.n_seen]):
            self.n_seen += 1
        return self.n_seen >= goal and self._moment != self._looked_at

    def looked(self, *, n_awaited: int, asked: bool) -> None:
        """Note a look that asked for instances, or waits for so many results."""
        self._looked_at, self._n_more = self._moment, 0 if asked else max(n_awaited, 1)

    def matrix(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return losses `(n_rows, n_instances)` and running instances `(n_rows,)` of rows, as far as it sees."""
        pool = self._state.pool
        if not self._state.window:
            return pool.losses[rows], pool.pending[rows]
        losses, pending = pool.losses[rows].copy(), pool.pending[rows].copy()
        place = np.full(len(pool.configurations), -1)
        place[rows] = np.arange(len(rows))
        for row, column in self._state.asked[self.n_seen :]:
            if place[row] >= 0 and not np.isnan(losses[place[row], column]):
                losses[place[row], column] = np.nan
                pending[place[row]] += 1
        return losses, pending

    @property
    def _moment(self) -> tuple[int, ...]:
        state = self._state
        n_racing = len(state.members)  # whoever is screened out leaves them, and takes the turns that it had with it
        return len(state.asked), self.n_seen, state.wave, n_racing, len(state.dropped)

    def _ended(self, row: int, column: int) -> bool:
        return not self._state.awaited(self._state.race_key(row, column))
