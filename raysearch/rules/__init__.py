"""Rules: which instances to train next, which configurations are out, and when it is over.

Contract: a frozen dataclass with `decide` and `plan`. `decide` is a pure function of the loss matrix: same matrix, same
decision, whatever order results came in. An eliminated configuration stays eliminated when the matrix grows. A rule
that may be given a number of instances to spend is `Budgeted`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.rules._decision import Decision, Elimination, RuleVerdict

__all__ = ["Budgeted", "Decision", "Elimination", "Rule", "RuleVerdict"]


class Rule(Protocol):
    """A selection rule over a matrix of losses."""

    def decide(self, losses: NDArray[np.float64], pending: NDArray[np.intp], criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)` (NaN = not finished, +inf = diverged or failed).

        `pending` `(n_configurations,)` counts instances that are running. Column s is the same seed and training
        sample for every row (paired). -inf: a person took the row out; it lacks nothing, `criterion` gives it NaN.
        """
        ...

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the least and the greatest number of instances it can ask for; ValueError: its budget is too small."""
        ...


@runtime_checkable
class Budgeted(Protocol):
    """A rule that asks for no more than a number of instances in all."""

    @property
    def budget(self) -> int | None:
        """That number; None sets no limit."""
        ...
