"""Rule `exhaustive`: what the meta-algorithm is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.registry import Validated
from raysearch.rules import Decision, Elimination, RuleVerdict
from raysearch.rules._rounds import open_round


@dataclass(frozen=True)
class Exhaustive(Validated):
    """Every configuration trains `n_instances` instances; the best criterion wins, the others are out at the end.

    Ties are broken by the order of the configurations. Raises ValueError unless `n_instances` >= 1.
    Source: Boldyrev et al. 2025, the exhaustive search that the paper compares with (50 instances).
    """

    n_instances: Annotated[int, Ge(1)] = 50

    def decide(self, losses: NDArray[np.float64], pending: NDArray[np.intp], criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)`; see the room's contract."""
        unfinished = open_round(losses, pending, criterion, np.arange(len(losses)), self.n_instances, n_next=0)
        if unfinished is not None:
            return unfinished
        values = np.asarray(criterion(losses[:, : self.n_instances]))
        leader = int(np.argsort(values, kind="stable")[0])
        others = np.delete(np.arange(len(values)), leader)
        cut = Elimination(1, float(values[leader]), self.n_instances, tuple(others.tolist()), tuple(values[others]))
        return Decision((), (cut,) if len(others) else (), RuleVerdict(leader, n_instances=self.n_instances))

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the number of instances, twice: it does not depend on the losses."""
        total = n_configurations * self.n_instances
        return total, total
