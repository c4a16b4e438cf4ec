"""The pool: configurations as rows, instances as columns, and the losses that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raysearch.records import Configuration, Outcome

ALL = int(np.iinfo(np.intp).max)
"""Of `Pool.judged`: whatever has finished."""


class Pool:
    """Configurations as rows, instances as columns. A row's columns are handed out in order."""

    def __init__(self) -> None:
        self.configurations: list[Configuration] = []
        self.rows: dict[str, int] = {}
        self.asked = np.zeros(0, dtype=np.intp)
        """`(n_configurations,)` columns handed out."""
        self.pending = np.zeros(0, dtype=np.intp)
        """`(n_configurations,)` columns handed out and not ended."""
        self.alive = np.zeros(0, dtype=bool)
        """`(n_configurations,)` still in the race."""
        self.judged = np.zeros(0, dtype=np.intp)
        """`(n_configurations,)` so many first columns count for what is said of a row: a decision rested on them, and
        an instance that was started ahead of it, or ended after it, must not change what follows."""
        self.stopped: dict[int, set[int]] = {}
        """Columns of a row whose instances were ended early: the first to be handed out if the row races again."""
        self._losses = np.full((0, 8), np.nan)
        self._n_columns = 0
        self._metrics: dict[int, dict[int, Mapping[str, float]]] = {}

    @property
    def losses(self) -> NDArray[np.float64]:
        """The loss matrix `(n_configurations, n_instances)`: NaN = not finished, +inf = diverged or failed."""
        return self._losses[:, : self._n_columns]

    def id(self, row: int) -> str:
        """Return the id of the configuration in a row."""
        return self.configurations[row].id

    def add(self, configurations: Sequence[Configuration]) -> NDArray[np.intp]:
        """Append rows and return them; raises ValueError for a configuration the pool has already."""
        for configuration in configurations:
            if configuration.id in self.rows:
                raise ValueError(f"configuration {configuration.id} is in the pool already")
            self.rows[configuration.id] = len(self.configurations)
            self.configurations.append(configuration)
        n = len(configurations)
        self.asked = np.append(self.asked, np.zeros(n, dtype=np.intp))
        self.pending = np.append(self.pending, np.zeros(n, dtype=np.intp))
        self.alive = np.append(self.alive, np.ones(n, dtype=bool))
        self.judged = np.append(self.judged, np.full(n, ALL, dtype=np.intp))
        self._losses = np.vstack([self._losses, np.full((n, self._losses.shape[1]), np.nan)])
        return np.arange(len(self.configurations) - n, len(self.configurations))

    def next_columns(self, row: int, n: int) -> list[int]:
        """Return the columns of the next `n` instances of a row, without holes."""
        again = sorted(self.stopped.get(row, ()))[:n]
        first = int(self.asked[row])
        return [*again, *range(first, first + n - len(again))]

    def hand_out(self, row: int, column: int) -> None:
        """Note that an instance runs; raises ValueError unless its column is the row's next one, or one before it."""
        if column > self.asked[row]:
            raise ValueError(f"instance {column} of row {row} is handed out before those in front of it")
        if column >= self._losses.shape[1]:
            width = max(column + 1, 2 * self._losses.shape[1])
            grown = np.full((len(self._losses), width), np.nan)
            grown[:, : self._losses.shape[1]] = self._losses
            self._losses = grown
        self.stopped.get(row, set()).discard(column)
        self.asked[row] = max(self.asked[row], column + 1)
        self._n_columns = max(self._n_columns, column + 1)
        self.pending[row] += 1

    def record(self, row: int, column: int, loss: float, metrics: Mapping[str, float] | None = None) -> None:
        """Note the loss of an instance, and what it told beside it."""
        self._losses[row, column] = loss
        if metrics:
            self._metrics.setdefault(row, {})[column] = metrics

    def metrics(self, row: int) -> Mapping[int, Mapping[str, float]]:
        """Return what a row's instances told beside the loss, by column."""
        return self._metrics.get(row, {})

    def forget(self, row: int, column: int) -> None:
        """Take back a loss: the instance is the first to be handed out if its row goes on."""
        self._losses[row, column] = np.nan
        self._metrics.get(row, {}).pop(column, None)
        self.stopped.setdefault(row, set()).add(column)

    def judge(self, rows: NDArray[np.intp], asked: Sequence[int]) -> None:
        """Let so many instances of rows count as they were `asked` for: one row an instance."""
        self.judged[rows] = np.bincount(asked, minlength=len(self.configurations))[rows]

    def outcomes(self) -> list[Outcome]:
        """Return what came of each configuration so far, in the order of the rows."""
        return [self._outcome(row) for row in range(len(self.configurations))]

    def _outcome(self, row: int) -> Outcome:
        losses, told = self.judged_losses(row), self._metrics.get(row, {})
        columns = (~np.isnan(losses)).nonzero()[0].tolist()
        names = sorted({name for metrics in told.values() for name in metrics})
        metrics = {name: tuple(told.get(column, {}).get(name, np.inf) for column in columns) for name in names}
        return Outcome(self.configurations[row], tuple(losses[columns].tolist()), not self.alive[row], metrics)

    def judged_losses(self, row: int) -> NDArray[np.float64]:
        """Return the losses of a row that count for what is said of it, `(n_instances,)`, NaN = not finished."""
        return self.losses[row, : int(self.judged[row])]

    def finished(self, row: int, column: int) -> bool:
        """Return whether an instance has its loss."""
        return column < self._losses.shape[1] and not np.isnan(self._losses[row, column])
