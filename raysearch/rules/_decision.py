"""What a rule answers: plain values, so that they can be compared, logged and tested."""

from __future__ import annotations

from dataclasses import dataclass


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
    """The rule's end: the leader's row, those it cannot be told apart from, and how sure that is (None: no claim).

    `n_instances`: so many first instances of each survivor it rests on; None: all that have finished.
    """

    leader: int
    indistinguishable: tuple[int, ...] = ()
    probability: float | None = None
    delta: float | None = None
    certified: bool | None = None
    note: str = ""
    n_instances: int | None = None


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
    eliminated: tuple[Elimination, ...] = ()
    verdict: RuleVerdict | None = None
    round: int = 1
    n_awaited: int = 0
    ahead: tuple[int, ...] = ()
    together: bool = False
