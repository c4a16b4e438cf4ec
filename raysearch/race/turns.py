"""Whose turn it is: the rows that a rule asked for, in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray


class Turns:
    """What a rule asked for.

    Args:
        rows: in the order in which their instances are to be trained; a block of a row takes its later turns along.
        likely: rows whose next instances may be started while a decision is open.
        n_awaited: so many results must come before the rule looks again.
    """

    def __init__(self, rows: Iterable[int] = (), likely: Iterable[int] = (), *, n_awaited: int = 0) -> None:
        self.n_awaited = n_awaited
        self._rows, self._likely = deque(rows), deque(likely)
        self._left: dict[int, int] = {}
        for row in self._rows:
            self._left[row] = self._left.get(row, 0) + 1
        self._taken = dict.fromkeys(self._left, 0)

    def next(self, alive: NDArray[np.bool_], block_of: Callable[[int], int]) -> tuple[int, int] | None:
        """Return the next row that is `alive`, and how many of its turns one block takes; None where there is none."""
        if not self.any_left(alive):
            return None
        row = self._rows.popleft()
        n = min(block_of(row), self._left[row])
        self._left[row] -= n
        self._taken[row] += n - 1
        return row, n

    def any_left(self, alive: NDArray[np.bool_]) -> bool:
        """Return whether a row that is `alive` has a turn; turns that a block took along are passed over."""
        while self._rows:
            row = self._rows[0]
            if self._taken[row]:
                self._taken[row] -= 1
            elif alive[row]:
                return True
            self._rows.popleft()
        return False

    def next_likely(self, alive: NDArray[np.bool_]) -> int | None:
        """Return the next likely row that is `alive`; None where there is none."""
        while self._likely:
            row = self._likely.popleft()
            if alive[row]:
                return row
        return None
