"""What rules with synchronous rounds share: who still owes instances, and the cut that ends a round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.rules import Decision, Elimination

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


def open_round(
    losses: Array, pending: Rows, criterion: Criterion, survivors: Rows, n_instances: int, n_next: int
) -> Decision | None:
    """Return what to train until all `survivors` have their first `n_instances`, or None if they have.

    `ahead` are, of the `n_next` rows that look best so far, those with nothing running ahead of their round yet.
    """
    round_ = losses[survivors, :n_instances]
    lacking = missing(round_, n_instances)
    if not lacking.any():
        return None
    wanted = lacking - pending[survivors]
    values = np.asarray(criterion(round_)) if round_.shape[1] else np.full(len(survivors), np.nan)
    likely = np.argsort(values, kind="stable")[:n_next]  # NaN, nothing finished yet, sorts last
    started = (~np.isnan(losses[survivors])).sum(axis=1) + pending[survivors]
    likely = likely[(started[likely] == n_instances) & (wanted[likely] <= 0) & ~np.isnan(values[likely])]
    return Decision(
        train=in_steps(survivors, wanted), n_awaited=int(lacking.sum()), ahead=tuple(survivors[likely].tolist())
    )


def missing(losses: Array, n_instances: int) -> Rows:
    """Return how many of its first `n_instances` each row lacks.

    A hole among them counts, whatever lies behind it: a failure that was taken back, to be tried again. Who is out by a
    person's will (-inf) lacks nothing.
    """
    first = losses[:, :n_instances]
    found: Rows = n_instances - (first == first).sum(axis=1)  # NaN is not equal to itself
    found[(first == -np.inf).any(axis=1)] = 0
    return found


def require_budget(budget: int | None, n_configurations: int) -> None:
    """Raise ValueError where `budget` instances (None: no limit) cannot train so many configurations once."""
    if budget is not None and budget < n_configurations:
        raise ValueError(
            f"a budget of {budget} instances cannot train {n_configurations} configurations once: "
            f"raise the budget to at least {n_configurations}, or race fewer configurations"
        )


def in_steps(rows: Rows, wanted: Rows) -> tuple[int, ...]:
    """Return each row as often as it wants instances, one per step, so that a broken-off round is balanced."""
    train: list[int] = []
    for step in range(int(wanted.max(initial=0)), 0, -1):
        train.extend(rows[wanted >= step].tolist())
    return tuple(train)


def cut(survivors: Rows, values: Array, keep: int, n_instances: int, round_: int) -> tuple[Rows, Elimination[int]]:
    """Return the best `keep` of `survivors` by `values` (ties: the earlier row) and the elimination of the others."""
    order = np.argsort(values, kind="stable")
    out = np.sort(order[keep:])
    gone = Elimination(
        round=round_,
        cutoff=float(values[order[keep - 1]]),
        n_instances=n_instances,
        configurations=tuple(survivors[out].tolist()),
        values=tuple(values[out].tolist()),
    )
    return np.sort(survivors[order[:keep]]), gone
