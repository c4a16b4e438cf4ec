"""Rule `halving`: Algorithm 1 of the paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.rules import Decision, Elimination, RuleVerdict


@dataclass(frozen=True)
class Halving:
    """Every survivor trains one instance per round; from round `warmup` on, each round drops the worse half.

    Survivors are floor-halved and never fewer than one; the cutoff is the criterion of the worst one kept. Ties are
    broken by the order of the configurations. 6,912 configurations with `warmup` 5 need 41,467 instances, and 100 more
    to confirm the winner. Raises ValueError unless `warmup` >= 1.
    Source: Boldyrev, Ratnikov, Shevelev 2025, Algorithm 1, with the counts the paper reports.
    """

    warmup: int = 5

    def __post_init__(self) -> None:
        if self.warmup < 1:
            raise ValueError(f"warmup must be at least 1 round, got {self.warmup}")

    def decide(self, losses: NDArray[np.float64], pending: NDArray[np.intp], criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)`; see the room's contract."""
        survivors = np.arange(len(losses))
        started = np.count_nonzero(~np.isnan(losses), axis=1) + pending
        cuts: list[Elimination] = []
        n_instances = self.warmup
        while True:
            round_ = losses[survivors, :n_instances]
            missing = n_instances - np.count_nonzero(~np.isnan(round_), axis=1)
            if missing.any():
                wanted = n_instances - started[survivors]
                values = np.asarray(criterion(round_)) if round_.shape[1] else np.full(len(survivors), np.nan)
                return Decision(
                    train=_in_steps(survivors, wanted),
                    eliminated=tuple(cuts),
                    round=n_instances,
                    n_awaited=int(missing.sum()),
                    ahead=_likely(survivors, wanted, values),
                )
            if len(survivors) > 1:
                survivors, cut = self._cut(survivors, np.asarray(criterion(round_)), n_instances)
                cuts.append(cut)
            if len(survivors) == 1:  # the last one needs no further round
                return Decision((), tuple(cuts), RuleVerdict(int(survivors[0])), n_instances)
            n_instances += 1

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the number of instances, twice: it does not depend on the losses."""
        total = self.warmup * n_configurations
        while (n_configurations := n_configurations // 2) > 1:
            total += n_configurations
        return total, total

    @staticmethod
    def _cut(
        survivors: NDArray[np.intp], values: NDArray[np.float64], n_instances: int
    ) -> tuple[NDArray[np.intp], Elimination]:
        order = np.argsort(values, kind="stable")
        keep = len(survivors) // 2
        out = np.sort(order[keep:])
        cut = Elimination(
            round=n_instances,
            cutoff=float(values[order[keep - 1]]),
            n_instances=n_instances,
            configurations=tuple(survivors[out].tolist()),
            values=tuple(values[out].tolist()),
        )
        return np.sort(survivors[order[:keep]]), cut


def _in_steps(rows: NDArray[np.intp], wanted: NDArray[np.intp]) -> tuple[int, ...]:
    """Return each row as often as it wants instances, one per step, so that a broken-off warm-up is balanced."""
    train: list[int] = []
    for step in range(int(wanted.max(initial=0)), 0, -1):
        train.extend(rows[wanted >= step].tolist())
    return tuple(train)


def _likely(rows: NDArray[np.intp], wanted: NDArray[np.intp], values: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the rows that will probably survive and have nothing running ahead of their round yet, best first."""
    order = np.argsort(values, kind="stable")[: max(len(rows) // 2, 1)]
    return tuple(rows[order[wanted[order] == 0]].tolist())
