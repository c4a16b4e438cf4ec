"""Races in memory over a table of losses, driven one event at a time; for the tests of race, state and journal."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np

from raysearch import registry
from raysearch.race.race import Race
from raysearch.records import Configuration, InstanceResult, Phase, Signal
from raysearch.rules import Decision, Elimination, RuleVerdict


class Memory:
    """A journal in memory; events go through JSON as they would through a file."""

    def __init__(self):
        self.events = []

    def append(self, event):
        self.events.append(json.loads(json.dumps(event, allow_nan=False)))


@dataclass(frozen=True)
class FirstDecides:
    """A rule: both rows start; as soon as row 0 has a loss, row 1 is out."""

    def decide(self, losses, pending, criterion):
        if np.isnan(losses[:1]).all():
            started = pending + np.count_nonzero(~np.isnan(losses), axis=1)
            return Decision(train=tuple(np.flatnonzero(started == 0).tolist()))
        cut = Elimination(1, 0.0, 1, (1,), (np.inf,))
        return Decision((), (cut,), RuleVerdict(0))

    def plan(self, n_configurations):
        return 2, 2


def once(configurations):
    """Return a proposal of all configurations at once."""
    return lambda outcomes: [] if outcomes else configurations


def pool_of(n):
    return [Configuration.of({"x": x}) for x in range(n)]


def make_race(losses, *, rule=("halving", {"warmup": 2}), criterion="mean", journal=None, propose=None, **settings):
    """Return a race of as many configurations as `losses` has rows."""
    name, arguments = rule
    return Race(
        propose or once(pool_of(len(losses))),
        registry.load("criteria", criterion),
        registry.load("rules", name, **arguments),
        journal=journal,
        **settings,
    )


def result_of(race, key, losses):
    """Return what an instance comes to; confirmation instances are the table's last columns, from the end."""
    phase, index = race.state.seeds.index(key.seed)
    row = race.state.pool.rows[key.configuration_id]
    return InstanceResult.of(key, float(losses[row, index if phase is Phase.RACE else -1 - index]))


def drive(race, losses, *, n_workers=1, choose=lambda running: 0, fails=lambda key, attempt: False):
    """Carry a race out; `choose(running)` picks which instance ends next, `fails` whether it crashes instead.

    Returns the keys in the order they were asked for, tries again included.
    """
    asked, running = [], sorted(race.state.running)
    while True:
        free = n_workers - len(running)
        answer = race.ask(free) if free > 0 else []
        if not isinstance(answer, Signal):
            keys = [key for block in answer for key in block.keys]
            asked += keys
            running += keys
        if not running:
            assert race.done, "nothing runs and the race is not done"
            return asked
        key = running.pop(choose(running))
        if race.state.superfluous(key) and choose(range(2)):
            race.stop(key)
        elif fails(key, race.state.attempts[key] + 1):
            race.fail(key, "crashed")
        else:
            race.tell(result_of(race, key, losses))


def outcome(race):
    """Return what a race came to: all that must not depend on how it was carried out."""
    state = race.state
    ids = [configuration.id for configuration in state.pool.configurations]
    return {
        "eliminations": state.eliminations,
        "cuts": state.cuts,
        "winner": ids[state.verdict.leader],
        "losses": np.nan_to_num(state.pool.losses, nan=-1.0, posinf=math.inf).tolist(),
        "confirmation": {index: result.loss for index, result in sorted(state.confirmation.items())},
        "counts": {
            name: state.counts[name] for name in ("asked", "told", "failures", "COMPLETE", "DIVERGED", "FAILED")
        },
    }


def image(race):
    """Return the whole state of a race as plain values, to compare two of them."""
    state = race.state
    return {
        "pool": [(c.id, dict(c.parameters)) for c in state.pool.configurations],
        "losses": np.nan_to_num(state.pool.losses, nan=-1.0).tolist(),
        "asked": state.pool.asked.tolist(),
        "pending": state.pool.pending.tolist(),
        "alive": state.pool.alive.tolist(),
        "counts": {name: n for name, n in state.counts.items() if n},
        "running": sorted(state.running),
        "again": list(state.again),
        "attempts": {key: n for key, n in state.attempts.items() if n},
        "judged": state.pool.judged.tolist(),
        "wave": (state.wave, state.members.tolist(), state.final, [*state.cuts], [*state.eliminations]),
        "round": (state.round, list(state.batch)),
        "verdict": state.verdict,
        "confirmation": (sorted(state.confirmation), state.n_confirmation_asked),
    }
