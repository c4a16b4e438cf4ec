"""What a rule sees of configurations that a person took out, and what is left of its answer.

A rule decides anew from the whole matrix at every look, and the rounds that have been cut must come out as they did. So
such a row keeps the losses on which those cuts rested; behind them stands -inf, and then whatever it had besides, which
a budget counts. It lacks nothing, its criterion is NaN, which sorts behind all others, those that diverged among them,
and the next cut takes it out, as the one that would have gone anyway.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.race.state import State
from raysearch.rules import Decision, Elimination
from raysearch.storage.events import Drop


def drop(state: State, criterion: Criterion, id_: str, reason: str, by: str) -> Drop | None:
    """Return the event that takes a configuration out; None where it is out, or where nobody else is left."""
    row, left = state.pool.rows.get(id_, -1), in_play(state)
    if row not in left or len(left) < 2:
        return None
    losses = state.pool.losses[row]
    n_finished = int(np.count_nonzero(~np.isnan(losses)))
    return Drop(id_, reason, by, float(criterion(losses)) if n_finished else math.nan, n_finished)


def in_play(state: State) -> list[int]:
    """Return the rows of which one will win: who races, or, when that is over, the finalists that are left."""
    if state.verdict is None:
        return list(map(int, state.survivors))
    confirmed = state.final and state.confirmations.finalists and state.confirmations.winner is None
    return state.contenders if confirmed else []


@dataclass(frozen=True)
class Without:
    """A criterion that is NaN for rows that a person took out."""

    criterion: Criterion

    def __call__(self, losses: NDArray[np.float64]) -> Any:
        """Return the criterion of `losses` `(..., n_instances)`."""
        out = np.isneginf(losses)
        return np.where(out.any(axis=-1), np.nan, self.criterion(np.where(out, np.inf, losses)))[()]


def seen(state: State, losses: NDArray[np.float64], criterion: Criterion) -> tuple[NDArray[np.float64], Criterion]:
    """Return the loss matrix of a race's members as its rule sees it, and the criterion that goes with it."""
    if not state.dropped:
        return losses, criterion
    losses = np.pad(losses, ((0, 0), (0, 1)), constant_values=np.nan)  # a column that is still to come
    for index, n in _gone(state).items():
        losses[index, n:] = np.concatenate([[-np.inf], losses[index, n:-1]])
    return losses, Without(criterion)


def left_of(decision: Decision, state: State) -> Decision:
    """Return a rule's decision without the rows that a person took out; these are indices of the members."""
    if not state.dropped:
        return decision
    gone = _gone(state)
    verdict = decision.verdict
    if verdict is not None:
        # a rule that took no notice of it
        leader = verdict.leader if verdict.leader not in gone else int(np.flatnonzero(_alive(state))[0])
        same = tuple(index for index in verdict.indistinguishable if index not in gone)
        verdict = replace(verdict, leader=leader, indistinguishable=same)
    return replace(
        decision,
        train=tuple(index for index in decision.train if index not in gone),
        ahead=tuple(index for index in decision.ahead if index not in gone),
        eliminated=tuple(_cut(cut, gone) for cut in decision.eliminated),
        verdict=verdict,
    )


def _gone(state: State) -> dict[int, int]:
    """Return, by their index among the members, on how many instances the cuts before a drop rested."""
    found = ((np.flatnonzero(state.members == row), n) for row, n in state.dropped.items())
    return {int(index): n for indices, n in found for index in indices}


def _alive(state: State) -> NDArray[np.bool_]:
    return state.pool.alive[state.members]


def _cut(cut: Elimination[int], gone: Container[int]) -> Elimination[int]:
    kept = [(index, value) for index, value in zip(cut.configurations, cut.values, strict=True) if index not in gone]
    cutoff = math.inf if math.isnan(cut.cutoff) else cut.cutoff  # there was room for more than are left
    rows, values = tuple(index for index, _ in kept), tuple(value for _, value in kept)
    return replace(cut, cutoff=cutoff, configurations=rows, values=values)


def note(state: State) -> str:
    """Return which configurations people took out, in words; nothing where there are none."""
    cuts = [cut for cut in state.eliminations if cut.reason]
    return "; ".join(f"{cut.configurations[0]} was {cut.reason}" for cut in cuts)
