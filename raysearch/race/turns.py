"""Whose turn it is: the rows that a rule asked for, in its order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray


class Turns:
    """Rows in the order in which their instances are to be trained; a block of a row takes its later turns along."""

    def __init__(self, rows: Iterable[int] = ()) -> None:
        self._rows = deque(rows)
        self._left = Counter(self._rows)
        self._taken: Counter[int] = Counter()

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
