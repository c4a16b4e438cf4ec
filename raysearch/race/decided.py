"""What follows from a rule's decision: the events to commit, in their order."""

from __future__ import annotations

from collections.abc import Iterator

from raysearch.race.state import State
from raysearch.rules import Decision
from raysearch.storage import events as e


def decided(decision: Decision, state: State, n_seen: int | None) -> Iterator[e.Eliminate | e.Conclude | e.Decide]:
    """Yield cuts, verdict and batch of a decision about a race's members, which rests on `n_seen` asks in a window.

    Each is to be committed before the next is asked for: they build on each other's state.
    """
    members = state.members
    for cut in decision.eliminated:
        if (state.wave, cut.round) not in state.cuts:
            yield e.Eliminate(state.wave, cut.by(lambda row: state.pool.id(members[row])), n_seen)
    if decision.verdict is not None:
        verdict = decision.verdict.by(lambda row: state.pool.id(members[row]))
        yield e.Conclude(state.wave, verdict, n_seen)
        return
    train = members[list(decision.train)].tolist()
    round_ = max(state.n_rounds_before + decision.round, state.round)
    # what was decided from less than there is now, no other driver could find out
    together = decision.together or (state.window and len(train) > 1)
    batch = tuple(map(state.pool.id, train)) if together else ()
    if batch or round_ > state.round:
        yield e.Decide(round_, batch, n_seen)
