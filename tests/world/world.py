"""World(seed): a search, its machine, and everything that may happen to it, in one thread."""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from raysearch.errors import JournalError, RaysearchError, TrackingError, WorkloadError
from raysearch.execution.local import Local
from raysearch.storage.decoding import entries
from raysearch.storage.journal import Journal, read
from raysearch.tracking.silent import Silent

from .auditor import PATH, Auditor, Broken, _plain, hold
from .driver import Driver
from .machine import Clock, Disk, Fuse, Killed
from .setting import PURE, Faults, Setting, draw
from .workers import Workers, result_of

MOST_DRIVERS = 6


class World:
    """One search from its first driver to the end of the last, with the faults of its seed."""

    def __init__(self, seed: int, story: Callable[[str], None] | None = None, setting: Setting | None = None) -> None:
        self.seed, self.story = seed, story
        self.setting = setting or draw(seed)
        self.rules = [self.setting.rule, *(value for what, value in self.setting.later if what == "rule")]
        self.calm = Calm(copy.deepcopy(self.setting))
        self.g = random.Random(f"world {seed}")
        self.clock, self.fuse = Clock(), Fuse()
        self.disk = Disk(self.fuse, self.g)
        self.auditor = self._auditor(self.setting)
        self.store: Any = None
        if self.setting.mlflow:
            from .store import Store

            self.store = Store(self.fuse, self.g, self.clock)
        self.tracker: Any = None
        self.told: Counter[str] = Counter()
        self.promised, self.n_later = True, 0

    def _auditor(self, s: Setting) -> Auditor:
        auditor = Auditor(s.race["seed"], s.criterion, s.race["retries"])
        auditor.ahead, auditor.needs_two = s.race["ahead"], s.criterion not in ("mean", "median", "max", "q3", "cvar")
        return auditor

    def say(self, text: Callable[[], str] | str) -> None:
        if self.story is not None:
            self.story(f"{self.clock.now:9.3f}  {text if isinstance(text, str) else text()}")

    # ---- a search

    def run(self) -> Counter[str]:
        """Carry it out; raises Broken, or whatever the product raised."""
        with logged_nothing():
            s = self.setting
            self.say(f"{s.rule} by {s.criterion}, {s.n} configurations, {s.race}, confirm {s.confirm}, {s.faults}")
            race = self._stage("run", None)
            went_on = False
            self._compare(race, went_on)
            for what, value in s.later:
                self.say(f"then {what} {value}")
                went_on = went_on or what != "confirm"
                race = self._stage(what, value)
                self.n_later += 1
                self._compare(race, went_on)
                self.told[what] += 1
            if self.store is not None:
                self._sync()
            self.told["worlds"] += 1
            self.told["events"] += len(self.auditor.lines)
            return self.told

    def _stage(self, what: str, value: Any) -> Any:
        """Let drivers carry one stage out, the last of them undisturbed; returns the race at its end."""
        if what == "retry" and value:
            self.setting.failing = (0,)
        self.setting.changed(what, value)
        wanted, retry = self.setting.settings, what == "retry"
        for n in range(MOST_DRIVERS + 1):
            self._arm(last=n == MOST_DRIVERS)
            settings = wanted
            if PATH in self.disk.files and what != "run" and self.g.random() < 0.5:
                settings = self._plain() or wanted
            race = self._live(settings, retry=retry, hopeless=n == MOST_DRIVERS)
            if race is not None:
                return race
            retry = self._retry
        raise Broken("once faults stop, the search ends: the last driver did not end it")

    def _plain(self) -> Any:
        """Return the settings of the journal, which `resume` without changes goes on with; the user looks first."""
        with contextlib.suppress(RaysearchError):
            history = list(entries(read(PATH, self.disk)))
            settings = Driver.in_force(history) if history else None
            return settings if settings == self.setting.settings else None
        return None

    def _arm(self, *, last: bool) -> None:
        """Choose what will happen to the next driver."""
        s, g = self.setting.faults, self.g
        self.fuse.left, self.disk.faults = None, {}
        if self.store is not None:
            self.store.mend()
        if last:
            return
        if g.random() < s.kill:
            self.fuse.left = g.randint(0, g.choice((10, 60, 400)))
        if g.random() < s.disk:
            kind = g.choice(("full", "eio", "short", "short"))
            self.disk.faults = {kind: g.randint(1, g.choice((5, 60)))}
            if g.random() < 0.3:
                self.disk.faults["stuck"] = 1
        if self.store is not None:
            self.store.p_error = self.store.p_lost_answer = s.store

    def _live(self, settings: Any, *, retry: bool, hopeless: bool) -> Any:
        """Let one driver live; returns the race if it came to the end."""
        self.disk.driver = object()
        self.tracker = self._tracker()
        driver = Driver(self.setting, self.disk, self.clock, self.auditor, self.tracker)
        workers = Workers(self.setting, self.g, self.auditor, self)
        self.say(f"driver begins with {settings}{' --retry-failed' * retry}")
        self._retry = retry
        try:
            return driver.live(workers.execute, settings, retry_failed=retry, calm=False)
        except Killed:
            power = self.g.random() < self.setting.faults.power
            self.say("driver killed" + " by a power cut" * power)
            self.told["killed drivers"] += 1
            self._release()
            self.disk.die(power)
        except JournalError as error:
            hold(self.disk.n_faults > 0, "a driver ends only for a reason", error)
            self.say(f"driver ends: {error}")
            self.told["broken disks"] += 1
            self.disk.die(power=False)
        except TrackingError as error:
            hold(not driver.went_on and self.setting.faults.store > 0, "a tracker ends no search", error)
            self.say(f"driver ends: {error}")
            self._release()
            self.disk.die(power=False)
        except WorkloadError as error:
            self.say(f"driver ends: {str(error)[:80]}")
            self.told["hopeless"] += 1
            self.promised, self.setting.failing, self._retry = False, (0,), True
            self.setting.raise_on_failure = False
            self.disk.die(power=False)
            return None
        self._retry = retry and not driver.went_on
        return None

    def _tracker(self) -> Any:
        if self.store is None:
            return Silent()
        from .store import Tracked

        return Tracked.on(self.store)

    def _release(self) -> None:
        self._release_of(self.tracker)

    def _release_of(self, tracker: Any) -> None:
        for session in getattr(tracker, "_open", ()):
            session.environment.release()

    # ---- between two events

    def between(self, runner: Any) -> None:
        """Whatever may happen beside the race."""
        s, g = self.setting.faults, self.g
        if s.clock and g.random() < s.clock:
            self.clock.jump(g.choice((-1e6, -10.0, 10.0, 1e6)))
            self.told["clock jumps"] += 1
        if s.visitor and g.random() < s.visitor:
            self._visit()
        if self.store is not None:
            for session in self.tracker._open:
                for _ in range(g.choice((0, 1, 4))):
                    session.writer.step()

    def _visit(self) -> None:
        """Another driver tries to begin, and somebody looks at the status."""
        left, self.fuse.left = self.fuse.left, None
        before = bytes(self.disk.files[PATH].seen)
        try:
            Journal(PATH, self.disk, self.clock)
        except JournalError as error:
            hold("in use" in str(error), "a second driver is refused", error)
        else:
            raise Broken("a second driver is refused")
        hold(self.disk.files[PATH].seen == before, "who is refused leaves no trace")
        list(entries(read(PATH, self.disk)))
        self.fuse.left = left
        self.told["visitors"] += 1

    # ---- the end

    def _compare(self, race: Any, went_on: bool) -> None:
        """Decisions are those of the undisturbed world, where the setting promises it."""
        if not (self.promised and self.setting.promises(went_on=went_on)):
            return
        if went_on and not self._always_pure():
            return
        calm = self.calm.reach(self.n_later)
        if calm is None:
            self.promised = False
            return
        mine, its = decisions(race, went_on), decisions(calm, went_on)
        for name, value in mine.items():
            hold(
                _plain(value) == _plain(its[name]),
                "decisions are those of the undisturbed world",
                name,
                value,
                its[name],
            )
        self.told["compared"] += 1

    def _always_pure(self) -> bool:
        return all(name in PURE for name, _ in self.rules)

    def _sync(self) -> None:
        """Tell MLflow all that a silent server missed: twice changes nothing, and a fresh store shows the same."""
        from .store import Store, Tracked

        self.fuse.left = None
        self.store.mend()
        self.store.p_error = self.store.p_lost_answer = self.setting.faults.store
        with contextlib.suppress(TrackingError):
            tracker = Tracked.on(self.store)
            Driver(self.setting, self.disk, self.clock, self.auditor, tracker).sync()
            if not tracker.n_lost:
                self.auditor.check_store(self.store.image())
        self._release_of(tracker)
        self.store.mend()
        images = []
        for _ in range(2):
            tracker = Tracked.on(self.store)
            Driver(self.setting, self.disk, self.clock, self.auditor, tracker).sync()
            hold(tracker.n_lost == 0, "a server that answers gets everything", tracker.n_lost)
            images.append(copy.deepcopy(self.store.image()))
        hold(images[0] == images[1], "a second sync changes nothing", *_difference(*images))
        self.auditor.check_store(self.store.image())
        if self.auditor.reopened or self.told["hopeless"]:
            return
        fresh = Store(Fuse(), self.g, self.clock)
        Driver(self.setting, self.disk, self.clock, self.auditor, Tracked.on(fresh)).sync()
        one, other = self.store.image(), fresh.image()
        hold(one.keys() == other.keys(), "live and synced show the same runs", one.keys() ^ other.keys())
        self.told["synced"] += 1


def _difference(one: dict[Any, Any], other: dict[Any, Any]) -> list[Any]:
    """Return where two images of a store differ: run, field, name, and both values."""
    found = []
    for key in one.keys() | other.keys():
        for a, b in itertools.zip_longest(one.get(key, ()), other.get(key, ()), fillvalue={}):
            for field in a.keys() | b.keys():
                mine, its = a.get(field, {}), b.get(field, {})
                if isinstance(mine, dict) and isinstance(its, dict):
                    names = [name for name in mine.keys() | its.keys() if mine.get(name) != its.get(name)]
                    found += [(key, field, name, mine.get(name), its.get(name)) for name in names]
                elif mine != its:
                    found.append((key, field, mine, its))
    return found


class Calm:
    """The undisturbed world of a setting: one worker in this process, no faults, one driver for each stage."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.later = setting, list(setting.later)
        self.setting.faults, self.setting.mlflow = Faults(), False
        self.clock = Clock()
        self.disk = Disk(Fuse(), random.Random(0))
        s = self.setting
        self.auditor = Auditor(s.race["seed"], s.criterion, s.race["retries"])
        self.auditor.ahead = self.auditor.needs_two = True
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
            driver = Driver(self.setting, self.disk, self.clock, self.auditor, Silent())
            try:
                self.at = driver.live(self._execute, self.setting.settings, retry_failed=what == "retry", calm=True)
            except WorkloadError:
                self.failed = True
        return None if self.failed else self.at

    def _execute(self, runner: Any) -> None:
        Local().run(runner, Table(self.setting, runner.race))


class Table:
    """A workload that knows every loss, and crashes where the setting says so."""

    def __init__(self, setting: Setting, race: Any) -> None:
        self.setting, self.race = setting, race

    def prepare(self) -> None:
        """Share nothing."""

    def train(self, configuration: Any, seeds: Any, report: Any, data: None = None) -> list[Any]:
        results = []
        for seed in seeds:
            key = type(next(iter(self.race.state.running)))(configuration.id, seed)
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
        "verdict": state.verdict,
        "confirmation": {index: result.loss for index, result in sorted(state.confirmation.items())},
    }
    return found if went_on else {**found, "counted": counted}


@contextlib.contextmanager
def logged_nothing() -> Iterator[None]:
    """Torn lines and silent servers are what a world is made of."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
