"""What a rule answers: plain values, so that they can be compared, logged and tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")
"""How a configuration is named: by its row in a rule's answer, by its id in an event."""
Name = TypeVar("Name")


@dataclass(frozen=True)
class Elimination(Generic[Row]):
    """One cut: `configurations` had `values` worse than `cutoff` over `n_instances` each, at the end of `round`."""

    round: int
    cutoff: float
    n_instances: int
    configurations: tuple[Row, ...]
    values: tuple[float, ...]
    reason: str = ""
    """Why a person took them out, where no rule did; the cutoff is NaN then."""

    def by(self, name_of: Callable[[Row], Name]) -> Elimination[Name]:
        """Return the same cut with other names for its configurations."""
        named: Any = replace(self, configurations=tuple(map(name_of, self.configurations)))  # type: ignore[arg-type]
        return named  # type: ignore[no-any-return]


@dataclass(frozen=True)
class RuleVerdict(Generic[Row]):
    """The rule's end: the leader, those it cannot be told apart from, and how sure that is (None: no claim).

    `n_instances`: so many first instances of each survivor it rests on; None: all that have finished.
    """

    leader: Row
    indistinguishable: tuple[Row, ...] = ()
    probability: float | None = None
    delta: float | None = None
    certified: bool | None = None
    note: str = ""
    n_instances: int | None = None

    def by(self, name_of: Callable[[Row], Name]) -> RuleVerdict[Name]:
        """Return the same verdict with other names for its configurations."""
        same = tuple(map(name_of, self.indistinguishable))
        named: Any = replace(self, leader=name_of(self.leader), indistinguishable=same)  # type: ignore[arg-type]
        return named  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Decision:
    """What follows from a matrix.

    `train`: row indices, one per instance to start, most urgent first; a row may appear several times.
    `eliminated`: all cuts so far, in the order of rounds, one per round. `n_awaited`: so many results must come before
    another look can change the decision; 0: look again as soon as `train` is handed out or a result comes. `round`: the
    current round, from 1. `ahead`: rows whose next instances may be started on spare machines while a decision is open;
    they count only when their round comes. `together`: `train` is a batch that must be asked for whole, whatever comes
    of its first instances: a driver that takes over in its middle could not find out the rest from the matrix.
    """

    train: tuple[int, ...] = ()
    eliminated: tuple[Elimination[int], ...] = ()
    verdict: RuleVerdict[int] | None = None
    round: int = 1
    n_awaited: int = 0
    ahead: tuple[int, ...] = ()
    together: bool = False
