"""A rule that waits although nothing runs: what to say of it."""

from __future__ import annotations

from raysearch.errors import StuckError
from raysearch.race.state import State
from raysearch.rules import Rule


def stuck(rule: Rule, state: State) -> StuckError:
    """Return the error that names rule and state, and how to go on."""
    members, losses = state.members, state.pool.losses[state.members]
    finished = [int(n) for n in (losses == losses).sum(axis=1)]
    return StuckError(
        f"the rule {rule} asks for nothing and has no verdict, although nothing runs: round {state.round}, "
        f"{len(state.survivors)} of {len(members)} configurations left, finished instances {finished[:8]} ... "
        "The journal is good and nothing is lost: `raysearch resume RUN_DIR --set rule=halving` goes on with "
        "another rule. This is a defect of the rule, please report it"
    )
