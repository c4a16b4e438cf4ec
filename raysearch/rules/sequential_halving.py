"""Rule `sequential_halving`: the best configuration that a fixed number of instances can find."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.registry import Validated
from raysearch.rules import Decision, Elimination, RuleVerdict
from raysearch.rules._rounds import cut, open_round, require_budget


@dataclass(frozen=True)
class SequentialHalving(Validated):
    """Spends `budget` instances in rounds of equal cost; each round drops the worse half, by all instances so far.

    The budget is that of a wave, where the sampler proposes in waves. The leader so far, who races in each of them,
    brings its instances along; a wave of more configurations than its budget allows trains each of them once.

    The rounds left share the instances left evenly, so the few late survivors get many. Where a round's share does not
    buy every survivor one instance, the round cuts on the data at hand and costs nothing. The budget is never exceeded,
    and fewer than twice the last survivors are left over. Ties are broken by the order of the configurations.
    Raises ValueError unless `budget` >= 1, and in `plan` if it is below the number of configurations.
    Source: Karnin, Koren, Somekh 2013, Algorithm "Sequential Halving"; keeping the data of earlier rounds is ours.
    """

    budget: Annotated[int, Ge(1)]

    def decide(self, losses: NDArray[np.float64], pending: NDArray[np.intp], criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)`; see the room's contract."""
        survivors = np.arange(len(losses))
        cuts: list[Elimination[int]] = []
        for index, (n_survivors, n_instances) in enumerate(_schedule(len(losses), self.budget), start=1):
            keep = max(n_survivors // 2, 1)
            # nothing is started ahead of its round: what turned out obsolete would break the budget
            waiting = open_round(losses, pending, criterion, survivors, n_instances, n_next=0)
            if waiting is not None:
                return replace(waiting, eliminated=tuple(cuts), round=index)
            if n_survivors > 1:
                values = np.asarray(criterion(losses[survivors, :n_instances]))
                survivors, gone = cut(survivors, values, keep, n_instances, index)
                cuts.append(gone)
        verdict = RuleVerdict(int(survivors[0]), n_instances=n_instances)
        return Decision((), tuple(cuts), verdict, max(len(cuts), 1))

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the number of instances, twice: it does not depend on the losses."""
        require_budget(self.budget, n_configurations)
        total, before = 0, 0
        for n_survivors, n_instances in _schedule(n_configurations, self.budget):
            total += n_survivors * (n_instances - before)
            before = n_instances
        return total, total


@lru_cache(maxsize=64)
def _schedule(n_configurations: int, budget: int) -> tuple[tuple[int, int], ...]:
    """Return for each round the number of survivors and of instances each has by its end, one at least."""
    if n_configurations == 1:
        return ((1, 1),)
    rounds: list[tuple[int, int]] = []
    left, each, survivors = max(budget, n_configurations), 0, n_configurations
    while survivors > 1:
        n_rounds_left = survivors.bit_length() - 1
        new = left // n_rounds_left // survivors
        new = max(new, 1) if each == 0 else new
        each += new
        left -= new * survivors
        rounds.append((survivors, each))
        survivors //= 2
    return tuple(rounds)
