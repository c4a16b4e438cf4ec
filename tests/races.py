"""Races in memory over a table of losses, driven one event at a time; for the tests of race, state and journal."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

from raysearch import registry
from raysearch.race.confirmations import Confirmations
from raysearch.race.race import Race
from raysearch.records import Configuration, InstanceResult, Phase, TrialRequest
from raysearch.rules import Decision, Elimination, RuleVerdict
from raysearch.storage.decoding import entries
from raysearch.storage.encoding import encode


class Memory:
    """A journal in memory; events go through JSON as they would through a file."""

    def __init__(self):
        self.events = []

    def append(self, event, time_s=0.0):
        self.write({**encode(event), "t": time_s})

    def write(self, line):
        self.events.append(json.loads(json.dumps(line, allow_nan=False)))

    @property
    def entries(self):
        return list(entries(self.events))


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


def trials(race, n=1):
    """Return what a race asks for: the TrialRequest among the events."""
    return [event for event in race.ask(n) if isinstance(event, TrialRequest)]


def drive(race, losses, *, n_workers=1, choose=lambda running: 0, fails=lambda key, attempt: False):
    """Carry a race out; `choose(running)` picks which instance ends next, `fails` whether it crashes instead.

    Returns the keys in the order they were asked for, tries again included.
    """
    asked, running = [], sorted(race.state.running)
    while True:
        free = n_workers - len(running)
        keys = [key for block in (trials(race, free) if free > 0 else ()) for key in block.keys]
        asked += keys
        running += keys
        if not running:
            assert race.done, "nothing runs and the race is not done"
            return asked
        key = running.pop(choose(running))
        if fails(key, race.state.attempts[key] + 1):
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
        "winner": ids[state.winner],
        "losses": np.nan_to_num(state.pool.losses, nan=-1.0, posinf=math.inf).tolist(),
        "confirmation": {index: result.loss for index, result in sorted(state.confirmation.items())},
        "counts": {
            name: state.counts[name] for name in ("asked", "told", "failures", "COMPLETE", "DIVERGED", "FAILED")
        },
    }


def image(race):
    """Return the whole state of a race as plain values, to compare two of them: whatever it holds, private or not."""
    state = race.state
    held = {**vars(state), **{f"pool.{name}": value for name, value in vars(state.pool).items()}}
    return {name: _plain(value) for name, value in held.items() if name not in ("pool", "seeds")}


def _plain(value):
    if isinstance(value, np.ndarray):
        return np.nan_to_num(value, nan=-1.0).tolist()
    if isinstance(value, Counter):
        return {key: n for key, n in value.items() if n}
    if isinstance(value, dict):
        return {key: plain for key, one in value.items() if (plain := _plain(one)) not in ({}, set())}
    if isinstance(value, deque | list):
        return [_plain(one) for one in value]
    if isinstance(value, Confirmations):
        return _plain(vars(value))
    if isinstance(value, InstanceResult):
        return dataclasses.asdict(value)
    return copy.copy(value)
