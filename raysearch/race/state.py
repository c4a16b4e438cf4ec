"""The state of a race: what the events of a journal add up to. Nothing here decides anything."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from raysearch.race.confirmations import Confirmations
from raysearch.race.learnt import Learnt
from raysearch.race.loss_matrix import ALL, Pool
from raysearch.records import Configuration, InstanceKey, InstanceResult, Phase, Status, TrialRequest
from raysearch.rules import Elimination, RuleVerdict
from raysearch.seeds import Seeds
from raysearch.storage import events as e
from raysearch.storage.decoding import Entry
from raysearch.storage.events import Event


class State:
    """A race as far as it went. `apply` is the only way to change it.

    A wave is the set of configurations that race together: the whole pool where a sampler fills it at once; later
    waves hold new configurations and the leader so far.
    """

    def __init__(self, search_seed: int) -> None:
        self.pool, self.seeds = Pool(), Seeds(search_seed)
        self.counts: Counter[str] = Counter()
        """Instances by what happened: asked, told, failures, and every Status."""
        self.running: dict[InstanceKey, Phase] = {}
        self.retry_queue: deque[InstanceKey] = deque()
        """Instances to be tried again; the rule still counts them as pending."""
        self.attempts: Counter[InstanceKey] = Counter()
        self.last_failures: dict[InstanceKey, e.Failure] = {}
        """Of instances that wait to be tried again, or to be given up."""
        self.failed: set[InstanceKey] = set()
        """Instances that failed more often than retries allow, and count as +inf."""
        self.confirmations, self.learnt = Confirmations(), Learnt()
        self.wave = 0
        self.members: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        """Rows that race in this wave."""
        self.n_new = 0  # so many of them came with this wave; the others won an earlier one
        self.round = 1
        self.batch: list[int] = []
        """Rows of a batch, as often as they are still to be asked, in their order."""
        self.window = 0
        """Of asks, for a rule that sees results in the order in which instances were asked for; 0: there is none."""
        self.asked: list[tuple[int, int]] = []
        """(row, column) of the race instances, in the order in which they were asked for;"""
        self.n_seen = 0
        """of the first so many of them the rule saw what came of them when it decided last, where there is a window."""
        self.cuts: list[tuple[int, int]] = []  # (wave, round)
        self.eliminations: list[Elimination[str]] = []
        """The cuts of all waves; of who was screened out, one of round 0 over 0 instances."""
        self.rounds: list[tuple[int, int, tuple[int, ...]]] = []
        """(round, instances each, rows in it) of the cuts so far; rounds count on from wave to wave."""
        self.screening_curves: list[tuple[float, ...]] = []
        """Validation losses by epoch of first instances, whole or screened out."""
        self.n_rounds_before = 0
        """Number of the last round of the earlier waves."""
        self.verdict: RuleVerdict[int] | None = None
        """Of this wave, with rows of the pool."""
        self.final = False
        """Whether the sampler has no more configurations: the verdict is the race's."""
        self.paused = False  # whether a person lets no further instance begin
        self.dropped: dict[int, int] = {}
        """Rows that a person took out, each with how many first instances the cuts before that rested on."""
        self._screened: set[int] = set()
        self._stopped: set[InstanceKey] = set()

    # ---- questions

    @property
    def survivors(self) -> NDArray[np.intp]:
        """The rows that race in this wave and that nothing eliminated: those of earlier waves race no more."""
        return self.members[self.pool.alive[self.members]]

    @property
    def confirmation(self) -> dict[int, InstanceResult]:
        """The winner's confirmation instances by their index; an earlier winner's do not count."""
        return self.confirmations.results.get(self.winner, {}) if self.winner is not None else {}

    @property
    def winner(self) -> int | None:
        """The row of who won: of the finalists, or, as long as that is open, or there are none, of the race."""
        won = self.confirmations.winner
        return won if won is not None or self.verdict is None else self.verdict.leader

    @property
    def contenders(self) -> list[int]:
        """The rows that are being confirmed: finalists that nothing tells from the best, or the race's winner."""
        out = self.confirmations.separated.keys() | self.dropped.keys()
        alone = [] if self.verdict is None else [self.verdict.leader]
        return [row for row in self.confirmations.finalists if row not in out] or alone

    def configuration(self, id_: str) -> Configuration:
        """Return the configuration with this id; raises KeyError where there is none."""
        return self.pool.configurations[self.pool.rows[id_]]

    def phase(self, key: InstanceKey) -> Phase:
        """Return the phase that an instance belongs to."""
        return self.seeds.index(key.seed)[0]

    def obsolete(self, key: InstanceKey) -> bool:
        """Return whether nobody waits any more for the result of an instance."""
        row = self.pool.rows[key.configuration_id]
        if self.phase(key) is Phase.CONFIRMATION:
            return row not in self.contenders
        if self.verdict is not None or not self.pool.alive[row]:
            return True
        return self.wave > 1 and row not in self.members  # it lost an earlier wave, whose rule cut nobody

    def race_key(self, row: int, column: int) -> InstanceKey:
        """Return the race instance in a cell of the loss matrix."""
        return InstanceKey(self.pool.id(row), self.seeds.seed(Phase.RACE, column))

    def awaited(self, key: InstanceKey) -> bool:
        """Return whether an instance was asked for and has neither ended nor been given up."""
        return key in self.running or key in self.retry_queue

    # ---- events

    def replay(self, entries: Iterable[Entry]) -> None:
        """Apply the next events of a journal; raises JournalError, naming the line, for one that does not fit."""
        for entry in entries:
            entry.give(self.apply)

    def apply(self, event: Event) -> None:
        """Change the state as an event says; remarks such as Start change nothing."""
        if isinstance(event, e.Measured | e.Packs):
            self.configuration(event.configuration_id)
        elif not isinstance(event, e.REMARKS):
            getattr(self, f"_on_{type(event).__name__.lower()}")(event)
            self.n_seen = getattr(event, "n_seen", None) or self.n_seen

    def _on_learn(self, event: e.Learn) -> None:
        self.learnt.take(event)

    def _on_window(self, event: e.Window) -> None:
        self.window = event.width

    def _on_wave(self, event: e.Wave) -> None:
        new = self.pool.add(event.configurations)
        best = set() if self.verdict is None else {self.verdict.leader, *self.verdict.indistinguishable}
        incumbents = sorted(best - self.dropped.keys())
        self.members = np.concatenate([np.array(incumbents, dtype=np.intp), new])
        self.pool.alive[incumbents], self.pool.judged[incumbents] = True, ALL
        self.wave, self.n_new = self.wave + 1, len(new)
        self.n_rounds_before = max((round_ for round_, _, _ in self.rounds), default=0)
        self.round, self.verdict, self.final, self.batch = 1, None, False, []
        self.confirmations.close()

    def _on_decide(self, event: e.Decide) -> None:
        self.round = event.round
        self.batch = [self.pool.rows[id_] for id_ in event.batch]

    def _on_trialrequest(self, event: TrialRequest) -> None:
        row = self.pool.rows[event.configuration.id]
        for key in event.keys:
            phase, index = self.seeds.index(key.seed)
            if key in self.retry_queue:
                self.retry_queue.remove(key)
                self.last_failures.pop(key, None)
            else:
                self._hand_out(key, row, phase, index)
            self.running[key] = phase

    def _hand_out(self, key: InstanceKey, row: int, phase: Phase, index: int) -> None:
        """Count an instance that is asked for, as one of its row's."""
        if key in self._stopped:  # it was counted when it was asked for first
            self._stopped.remove(key)
            self.counts[Status.STOPPED.value] -= 1
        else:
            self.counts["asked"] += 1
        if phase is Phase.RACE:
            self.pool.hand_out(row, index)
            self.asked.append((row, index))
            if row in self.batch:
                self.batch.remove(row)
        else:
            self.confirmations.hand_out(row, index)

    def _on_tell(self, event: e.Tell) -> None:
        result = event.result
        row, (phase, index) = self.pool.rows[result.key.configuration_id], self.seeds.index(result.key.seed)
        if phase is Phase.CONFIRMATION:
            self.confirmations.record(row, index, result)
        else:
            self.pool.record(row, index, result.loss, result.metrics)
            if index == 0 and result.curve:
                self.screening_curves.append(result.curve)
        self.counts.update({"epochs": result.epochs, "told": 1, result.status.value: 1})
        if result.status is Status.FAILED:
            self.failed.add(result.key)
        self._end(result.key)

    def _on_retry(self, event: e.Retry) -> None:
        key = event.key
        self.failed.remove(key)
        del self.attempts[key]
        self.counts.subtract(("told", "asked", Status.FAILED.value))
        row, (phase, index) = self.pool.rows[key.configuration_id], self.seeds.index(key.seed)
        if phase is Phase.RACE:
            self.pool.forget(row, index)
        else:
            self.confirmations.take_back(row, index)

    def _on_failure(self, event: e.Failure) -> None:
        self.attempts[event.key] = event.attempt
        self.counts["failures"] += 1
        self._on_lost(event)
        self.last_failures[event.key] = event

    def _on_lost(self, event: e.Lost | e.Failure) -> None:
        del self.running[event.key]
        self.retry_queue.append(event.key)

    def _on_stop(self, event: e.Stop) -> None:
        row, (phase, index) = self.pool.rows[event.key.configuration_id], self.seeds.index(event.key.seed)
        if phase is Phase.RACE:
            self.pool.stopped.setdefault(row, set()).add(index)
        else:
            self.confirmations.give_up(row, index)
        self.counts[Status.STOPPED.value] += 1
        self._stopped.add(event.key)
        self._end(event.key)

    def _on_screen(self, event: e.Screen) -> None:
        key, row = event.key, self.pool.rows[event.key.configuration_id]
        self.screening_curves.append(event.curve)
        self.counts.update({"epochs": len(event.curve), "screened": 1})
        self.pool.stopped.setdefault(row, set()).add(self.seeds.index(key.seed)[1])
        self.pool.alive[row] = False
        self.members = self.members[self.members != row]
        self.batch = [other for other in self.batch if other != row]
        self._screened.add(row)
        self.eliminations.append(Elimination(0, event.cutoff, 0, (key.configuration_id,), event.curve[-1:]))
        self._end(key)

    def _on_eliminate(self, event: e.Eliminate) -> None:
        cut = dataclasses.replace(event.cut, round=self.n_rounds_before + event.cut.round)
        rows = [self.pool.rows[id_] for id_ in cut.configurations]
        self.rounds.append((cut.round, cut.n_instances, tuple(self.survivors.tolist())))
        self.pool.alive[rows], self.pool.judged[rows] = False, cut.n_instances
        self.eliminations.append(cut)
        self.cuts.append((event.wave, event.cut.round))
        self.round = cut.round + 1

    def _on_drop(self, event: e.Drop) -> None:
        row = self.pool.rows[event.configuration_id]
        self.dropped[row] = self.rounds[-1][1] if self.cuts and self.cuts[-1][0] == self.wave else 0
        self.pool.alive[row] = False
        self.batch = [other for other in self.batch if other != row]
        self.eliminations.append(event.cut(self.round))

    def _on_pause(self, event: e.Pause) -> None:
        self.paused = event.on

    def _on_conclude(self, event: e.Conclude) -> None:
        self.verdict = event.verdict.by(self.pool.rows.__getitem__)
        if self.verdict.n_instances is not None:
            self.pool.judged[self.survivors] = self.verdict.n_instances
        elif event.n_seen is not None:
            self.pool.judge(self.survivors, [row for row, _ in self.asked[: event.n_seen]])

    def _on_final(self, event: e.Final) -> None:
        self.final = True

    def _on_finalists(self, event: e.Finalists | e.Separate | e.Confirm) -> None:
        self.confirmations.apply(event, self.pool.rows)

    _on_separate = _on_confirm = _on_finalists

    def _on_reopen(self, event: e.Reopen) -> None:
        self.final = False
        self.confirmations.close()
        if not event.whole_pool:
            return
        self.wave += 1
        if len(self._screened | self.dropped.keys()) == len(self.pool.configurations):  # somebody must win
            self._screened.clear()
        out = self._screened | self.dropped.keys()  # no rule decides that, and it would be screened again
        self.pool.alive[:] = [row not in out for row in range(len(self.pool.configurations))]
        self.members = np.flatnonzero(self.pool.alive)
        self.pool.judged[:], self.n_new = ALL, len(self.members)
        ids = {self.pool.id(row) for row in out}
        own = (cut for cut in self.eliminations if ids.issuperset(cut.configurations))
        self.eliminations = [cut for cut in own if not cut.round or cut.reason]
        self.rounds.clear()
        self.round, self.verdict, self.n_rounds_before, self.batch = 1, None, 0, []

    def _end(self, key: InstanceKey) -> None:
        if self.running.pop(key, None) is None:
            self.retry_queue.remove(key)
            self.last_failures.pop(key, None)
        self.pool.pending[self.pool.rows[key.configuration_id]] -= self.phase(key) is Phase.RACE
