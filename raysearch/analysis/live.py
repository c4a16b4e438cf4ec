"""A race as those see it who watch its journal: its state, and what the state alone forgets."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.analysis.console import kind
from raysearch.analysis.duel import Trace
from raysearch.race.race import Race
from raysearch.race.verdict import progress
from raysearch.records import InstanceKey, Progress, Status, TrialRequest
from raysearch.storage import events as e
from raysearch.storage.decoding import Entry
from raysearch.storage.journal import is_driven
from raysearch.storage.tail import Tail

Experiment = Mapping[str, Any]
MakeRace = Callable[[Experiment], Race]
"""A race of an experiment as plain data, to replay a journal into."""
N_CURVES, N_TIMES = 12, 200
"""Curves of a configuration, and durations of instances, that are kept: the last ones."""
_ERROR_WIDTH, _N_EXAMPLES = 4000, 5


@dataclass
class Failures:
    """Instances that failed or diverged with one kind of error."""

    status: Status
    line: str
    error: str
    keys: dict[InstanceKey, tuple[str, int]] = field(default_factory=dict)
    """With the node and the attempt of each."""

    @property
    def examples(self) -> list[tuple[InstanceKey, str, int]]:
        """The last ones, with node and attempt."""
        return [(key, *self.keys[key]) for key in list(self.keys)[-_N_EXAMPLES:]]


class LiveRace:
    """Follows the journal of one search.

    Args:
        journal: the file; it may be growing, or finished long ago.
        make_race: gives the race that the journal is replayed into.
    """

    def __init__(self, journal: Path, make_race: MakeRace) -> None:
        self._tail, self._make_race = Tail(journal), make_race
        self.path = journal
        self._begin()

    def _begin(self) -> None:
        self.experiment: Experiment = {}
        self._halted = False
        self.caught_up = False
        """Whether the end of the journal has been seen once."""
        self.race: Race | None = None
        self.trace = Trace()
        self.began = self.changed = math.nan
        """When the search began and when it last told something, in seconds since 1970."""
        self._worked_s, self._since, self._told_before = 0.0, math.nan, 0
        self.handed_out: dict[InstanceKey, float] = {}
        self.curves: dict[str, deque[NDArray[np.float32]]] = {}
        self.seconds: deque[float] = deque(maxlen=N_TIMES)
        self.failures: dict[tuple[Status, str], Failures] = {}
        self._failed: dict[InstanceKey, tuple[Status, str]] = {}
        self.out_at: dict[str, float] = {}
        """When a configuration was last eliminated, by its id."""
        self.n_epochs: Counter[str] = Counter()
        self.intervals: dict[tuple[float, ...], tuple[float, float] | None] = {}
        """Of the criterion over these losses, so that a view need not find again what the last one showed."""

    def read(self) -> bool:
        """Take in the next events of the journal and return whether there were any; to be called until there are none.

        Raises JournalError where the journal is gone or damaged.
        """
        entries = self._tail.more()
        if entries is None:
            self._begin()
            return True
        for entry in entries:
            self._take(entry)
        self.caught_up |= not entries
        return bool(entries)

    @property
    def share(self) -> float:
        """How much of the journal has been read, from 0 to 1."""
        return self._tail.share

    @property
    def driven(self) -> bool | None:
        """Whether a driver carries the search on; None where the file system does not say."""
        return is_driven(self.path)

    def worked_s(self, now: float | None = None) -> float:
        """Return for how long drivers have worked, up to `now` where one still does, in seconds."""
        if self.race is None:
            return 0.0
        return max(self._worked_s + max(self.changed, now or 0.0) - self._since, 0.0)

    def progress(self, now: float | None = None) -> Progress:
        """Return this moment; speed and time left are those of the last driver."""
        assert self.race is not None
        moment = progress(self.race, self.worked_s(now) - self._worked_s, self._told_before)
        return replace(moment, elapsed_s=self.worked_s(now))

    @property
    def asked(self) -> str:
        """What a person asked of the driver, in one word; empty for nothing."""
        paused = self.race is not None and self.race.state.paused
        return "stopping" if self._halted else "paused" if paused else ""

    def _take(self, entry: Entry) -> None:
        event = entry.event
        if isinstance(event, e.Start | e.Resume):
            self._drive(event.experiment, entry.time_s)
        assert self.race is not None  # a journal begins with its start
        self.race.state.replay([entry])
        self._note(event, entry.time_s)
        self.changed = entry.time_s
        if isinstance(event, e.Tell | e.Eliminate | e.Drop | e.Screen | e.Conclude):
            self.trace.look(self.race, cut=not isinstance(event, e.Tell))

    def _drive(self, experiment: Experiment, time_s: float) -> None:
        """A new driver begins: the time between two of them counts for nobody."""
        self._halted = False
        self.intervals.clear()
        race = self._make_race(experiment)
        if self.race is None:
            self.began = time_s
        else:
            race.state = race.contest.state = self.race.state
            self._worked_s += self.changed - self._since
            self._told_before = race.state.counts["told"]
        self.race, self.experiment, self._since = race, experiment, time_s

    def _note(self, event: e.Event, time_s: float) -> None:
        match event:
            case TrialRequest():
                self.handed_out.update(dict.fromkeys(event.keys, time_s))
            case e.Tell(result):
                self.handed_out.pop(result.key, None)
                if result.seconds > 0:
                    self.seconds.append(result.seconds)
                self._keep_curve(result.key, result.curve)
                if result.status in (Status.FAILED, Status.DIVERGED):
                    self._fail(result.key, result.status, result.error, result.node, result.attempt)
            case e.Screen():
                self.handed_out.pop(event.key, None)
                self._keep_curve(event.key, event.curve)
                self.out_at[event.key.configuration_id] = time_s
            case e.Stop() | e.Lost() | e.Failure():
                self.handed_out.pop(event.key, None)
            case e.Retry():
                if kind_ := self._failed.pop(event.key, None):
                    del self.failures[kind_].keys[event.key]
            case e.Drop(id_):
                self.out_at[id_] = time_s
            case e.Halt():
                self._halted = True
            case e.Eliminate():
                self.out_at.update(dict.fromkeys(event.cut.configurations, time_s))

    def _keep_curve(self, key: InstanceKey, curve: tuple[float, ...]) -> None:
        if len(curve) > 1:
            own = self.curves.setdefault(key.configuration_id, deque(maxlen=N_CURVES))
            with np.errstate(over="ignore"):  # losses at the ends of floating point
                own.append(np.asarray(curve, dtype=np.float32))

    def _fail(self, key: InstanceKey, status: Status, error: str, node: str, attempt: int) -> None:
        error = error.strip() or ("no error text" if status is Status.FAILED else "the loss became NaN or infinite")
        line = error.rpartition("\n")[2][:200]
        named = (status, kind(line))
        failures = self.failures.setdefault(named, Failures(status, line, ""))
        failures.line, failures.error = line, error[-_ERROR_WIDTH:]
        failures.keys[key] = (node, attempt)
        self._failed[key] = named
