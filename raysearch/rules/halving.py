"""Rule `halving`: Algorithm 1 of the paper."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.registry import Validated
from raysearch.rules import Decision, Elimination, RuleVerdict
from raysearch.rules._rounds import cut, open_round


@dataclass(frozen=True)
class Halving(Validated):
    """Every survivor trains one instance per round; from round `warmup` on, each round drops the worse half.

    Survivors are floor-halved and never fewer than one; the cutoff is the criterion of the worst one kept. Ties are
    broken by the order of the configurations. 6,912 configurations with `warmup` 5 need 41,467 instances, and 100 more
    to confirm the winner. Raises ValueError unless `warmup` >= 1.
    Source: Boldyrev, Ratnikov, Shevelev 2025, Algorithm 1, with the counts the paper reports.
    """

    warmup: Annotated[int, Ge(1)] = 5

    def decide(self, losses: NDArray[np.float64], pending: NDArray[np.intp], criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)`; see the room's contract."""
        survivors = np.arange(len(losses))
        cuts: list[Elimination[int]] = []
        n_instances = self.warmup
        while True:
            keep = max(len(survivors) // 2, 1)
            unfinished = open_round(losses, pending, criterion, survivors, n_instances, keep)
            if unfinished is not None:
                return replace(unfinished, eliminated=tuple(cuts), round=n_instances)
            if len(survivors) > 1:
                values = np.asarray(criterion(losses[survivors, :n_instances]))
                survivors, gone = cut(survivors, values, keep, n_instances, n_instances)
                cuts.append(gone)
            if len(survivors) == 1:  # the last one needs no further round
                return Decision((), tuple(cuts), RuleVerdict(int(survivors[0]), n_instances=n_instances), n_instances)
            n_instances += 1

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the number of instances, twice: it does not depend on the losses."""
        total = self.warmup * n_configurations
        while (n_configurations := n_configurations // 2) > 1:
            total += n_configurations
        return total, total
