"""The undisturbed world, and the decisions that must not differ from its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from raysearch.driver.resume import go_on
from raysearch.errors import WorkloadError
from raysearch.execution.local import Local
from raysearch.execution.race_runner import RaceRunner
from raysearch.records import InstanceKey
from raysearch.storage.decoding import Entry
from raysearch.storage.events import Event
from raysearch.tracking.silent import Silent

from .machine import Clock
from .setting import Faults, Setting
from .workers import result_of


class Memory:
    """A journal that forgets nothing and is written nowhere."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, event: Event, time_s: float, /) -> None:
        self.entries.append(Entry(len(self.entries) + 1, time_s, event))


class Calm:
    """The undisturbed world of a setting: one worker in this process, no faults, no disk, a driver for each stage."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.later = setting, list(setting.later)
        self.setting.faults, self.setting.mlflow = Faults(), False
        self.clock = Clock()
        self.journal = Memory()
        self.rule: Any = None
        self.n_stages = 0
        self.failed = False
        self.at: Any = None

    def reach(self, n_later: int) -> Any:
        """Return the race after the first stage and so many later ones; None where a driver gave up."""
        while self.n_stages <= n_later and not self.failed:
            what, value = ("run", None) if not self.n_stages else self.later[self.n_stages - 1]
            if what == "retry" and value:
                self.setting.failing = (0,)
            self.setting.changed(what, value)
            self.n_stages += 1
            self._live(retry_failed=what == "retry")
        return None if self.failed else self.at

    def _live(self, *, retry_failed: bool) -> None:
        s = self.setting
        history, rule_changed = [*self.journal.entries], s.rule != self.rule
        race = s.race_of(self.journal, self.clock, ahead=False)
        race.replay(history)
        runner = RaceRunner(race, Silent(), raise_on_failure=s.raise_on_failure, clock=self.clock)
        if history:
            go_on(race, s.propose, retry_failed=retry_failed, rule_changed=rule_changed)
        self.rule, self.at = s.rule, race
        try:
            with short_tracebacks():
                Local().run(runner, Table(s, race))
        except WorkloadError:
            self.failed = True


@contextlib.contextmanager
def short_tracebacks() -> Iterator[None]:
    """Let no traceback name lines of code: instances crash on purpose, and nobody reads where."""
    sys.tracebacklimit = 0
    try:
        yield
    finally:
        del sys.tracebacklimit


class Table:
    """A workload that knows every loss, and crashes where the setting says so."""

    def __init__(self, setting: Setting, race: Any) -> None:
        self.setting, self.race = setting, race

    def prepare(self) -> None:
        """Share nothing."""

    def train(self, configuration: Any, seeds: Any, report: Any, data: None = None) -> list[Any]:
        results = []
        for seed in seeds:
            key = InstanceKey(configuration.id, seed)
            if self.setting.fails(key, self.race.state.attempts[key] + 1):
                raise RuntimeError("crash")
            result = result_of(self.setting, self.race, key)
            for epoch, loss in enumerate(result.curve, start=1):
                report(epoch, loss)
            results.append(result)
        return results


def decisions(race: Any, went_on: bool) -> dict[str, Any]:
    """Return what must not depend on who carried a race out: cuts, verdict, and the losses that count."""
    state = race.state
    counted = {}
    for row, configuration in enumerate(state.pool.configurations):
        losses = np.nan_to_num(state.pool.judged_losses(row), nan=-1.0).tolist()
        while losses and losses[-1] == -1.0:
            losses.pop()
        counted[configuration.id] = losses
    found = {
        "eliminations": state.eliminations,
        "winner": state.winner,
        "finalists": (state.confirmations.finalists, list(state.confirmations.separated.values())),
        "verdict": state.verdict,
        "confirmation": {index: result.loss for index, result in sorted(state.confirmation.items())},
    }
    return found if went_on else {**found, "counted": counted}
