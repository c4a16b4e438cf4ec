"""Rules: which instances to train next, which configurations are out, and when it is over.

Contract: a frozen dataclass with `decide` and `plan`. `decide` is a pure function of the loss matrix: same matrix, same
decision, whatever order results came in. An eliminated configuration stays eliminated when the matrix grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion


@dataclass(frozen=True)
class Elimination:
    """One cut: `configurations` (row indices) had `values` worse than `cutoff` over `n_instances` each."""

    round: int
    cutoff: float
    n_instances: int
    configurations: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class RuleVerdict:
    """The rule's end: the leader's row, those it cannot be told apart from, and how sure that is (None: no claim)."""

    leader: int
    indistinguishable: tuple[int, ...] = ()
    probability: float | None = None
    delta: float | None = None
    certified: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Decision:
    """What follows from a matrix.

    `train`: row indices, one per instance to start, most urgent first; a row may appear several times.
    `eliminated`: all cuts so far, in the order of rounds, one per round. `n_awaited`: so many results must come before
    another look can change the decision; 0: look again as soon as `train` is handed out or a result comes. `round`: the current round, from 1. `ahead`: rows whose next instances may be started on
    spare machines while a decision is open; they count only when their round comes.
    """

    train: tuple[int, ...] = ()
    eliminated: tuple[Elimination, ...] = ()
    verdict: RuleVerdict | None = None
    round: int = 1
    n_awaited: int = 0
    ahead: tuple[int, ...] = ()


class Rule(Protocol):
    """A selection rule over a matrix of losses."""

    def decide(self, losses: NDArray[np.float64], pending: NDArray[np.intp], criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)` (NaN = not finished, +inf = diverged or failed).

        `pending` `(n_configurations,)` counts instances that are running. Column s is the same seed and training
        sample for every row (paired).
        """
        ...

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the least and the greatest number of instances the rule can ask for, confirmation not included."""
        ...
