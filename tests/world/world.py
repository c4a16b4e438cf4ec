"""World(seed): a search, its machine, and everything that may happen to it, in one thread."""

from __future__ import annotations

import contextlib
import copy
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from raysearch.errors import JournalError, RaysearchError, StoppedError, TrackingError, WorkloadError
from raysearch.storage.decoding import entries
from raysearch.storage.journal import Journal, read
from raysearch.storage.requests import Request
from raysearch.tracking.silent import Silent

from .auditor import PATH, Auditor, plain
from .books import Broken, hold
from .calm import Calm, decisions
from .driver import Driver
from .machine import Clock, Disk, Fuse, Killed
from .setting import PURE, Setting, draw
from .workers import Workers


class World:
    """One search from its first driver to the end of the last, with the faults of its seed."""

    workers = Workers
    """Who carries races out."""
    most_drivers = 4

    def __init__(self, seed: int, story: Callable[[str], None] | None = None, setting: Setting | None = None) -> None:
        self.seed, self.story = seed, story
        self.orders: Counter[tuple[str, ...]] = Counter()
        self.setting = setting or draw(seed)
        self.rules = [self.setting.rule, *(value for what, value in self.setting.later if what == "rule")]
        self.calm = Calm(copy.copy(self.setting))
        self.g = random.Random(f"world {seed}")
        self.person = random.Random(f"person {seed}")  # the worlds that are not steered are as they would be
        self.steered, self.patient = self.person.random() < 0.2, False
        self.clock, self.fuse = Clock(), Fuse()
        self.disk = Disk(self.fuse, self.g)
        self.auditor = self._auditor(self.setting)
        self.store: Any = None
        if self.setting.mlflow:
            from .store import Store

            self.store = Store(self.fuse, self.g, self.clock, as_tables=seed % 2 == 1)
        self.tracker: Any = None
        self.told: Counter[str] = Counter()
        self.promised, self.n_later = True, 0

    def _auditor(self, s: Setting) -> Auditor:
        auditor = Auditor(s.race["seed"], s.criterion, s.race["retries"], s.every)
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
            self.say(
                f"{s.rule} by {s.criterion}, {s.n} configurations, {s.race}, {s.confirm} x {s.finalists}, {s.faults}"
            )
            race = self._stage("run", None)
            went_on = False
            self._compare(race, went_on)
            for what, value in s.later:
                self.say(f"then {what} {value}")
                went_on = went_on or what not in ("confirm", "finalists")
                race = self._stage(what, value)
                self.n_later += 1
                self._compare(race, went_on)
                self.told[what] += 1
            if self.store is not None:
                self._sync()
            self.told["worlds"] += 1
            self.told["events"] += len(self.auditor.lines)
            return self.told

    def _sync(self) -> None:
        """Tell the store what it missed."""
        from .synced import sync

        sync(self)

    def _stage(self, what: str, value: Any) -> Any:
        """Let drivers carry one stage out, the last of them undisturbed; returns the race at its end."""
        if what == "retry" and value:
            self.setting.failing = (0,)
        self.setting.changed(what, value)
        wanted, retry = self.setting.settings, what == "retry"
        for n in range(self.most_drivers + 2):  # the last but one may end for want of hope
            self._arm(last=n >= self.most_drivers)
            settings = wanted
            if PATH in self.disk.files and what != "run" and self.g.random() < 0.5:
                settings = self._plain() or wanted
            race = self._live(settings, retry=retry)
            if race is not None:
                return race
            retry = self._retry
        raise Broken("once faults stop, the search ends: the last driver did not end it")

    def _plain(self) -> Any:
        """Return the settings of the journal, which `resume` without changes goes on with; the user looks first."""
        with contextlib.suppress(RaysearchError):
            named = [line["experiment"] for line in read(PATH, self.disk) if line["event"] in ("start", "resume")]
            return named[-1] if named and named[-1] == self.setting.settings else None
        return None

    def _arm(self, *, last: bool) -> None:
        """Choose what will happen to the next driver."""
        s, g = self.setting.faults, self.g
        self.patient = last
        self.fuse.left, self.disk.faults = None, {}
        if self.store is not None:
            self.store.mend()
        if last:
            return
        if g.random() < s.kill:
            self.fuse.left = g.randint(0, g.choice((10, 60, 200)))
        if g.random() < s.disk:
            kind = g.choice(("full", "eio", "short", "short"))
            self.disk.faults = {kind: g.randint(1, g.choice((5, 60)))}
            if g.random() < 0.3:
                self.disk.faults["stuck"] = 1
        if self.store is not None:
            self.store.p_error = self.store.p_lost_answer = s.store

    def _live(self, settings: Any, *, retry: bool) -> Any:
        """Let one driver live; returns the race if it came to the end."""
        self.disk.driver = object()
        self.tracker = self._tracker()
        driver = Driver(self.setting, self.disk, self.clock, self.auditor, self.tracker)
        workers = self.workers(self.setting, self.g, self.auditor, self)
        self.say(f"driver begins with {settings}{' --retry-failed' * retry}")
        self._retry = retry
        try:
            return driver.live(workers.execute, settings, retry_failed=retry)
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
        except StoppedError as error:
            self.say(f"driver ends: {error}")
            self.told["stopped by a person"] += 1
            self._release()
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
        if self.store is not None:
            self.tracker.let_go()

    # ---- between two events

    def between(self, runner: Any) -> None:
        """Whatever may happen beside the race."""
        s, g = self.setting.faults, self.g
        if s.clock and g.random() < s.clock:
            self.clock.jump(g.choice((-1e6, -10.0, 10.0, 1e6)))
            self.told["clock jumps"] += 1
        if s.visitor and g.random() < s.visitor:
            self._visit()
        if self.steered and self.person.random() < (0.3 if runner.held else 0.02):
            self._steer(runner)
        if self.store is not None:
            for session in self.tracker._open:
                for _ in range(g.choice((0, 1, 4))):
                    session.writer.step()

    def _steer(self, runner: Any) -> None:
        """A person asks for something; the last driver is let go on, but for configurations that are dropped."""
        p, ids = self.person, [configuration.id for configuration in runner.race.state.pool.configurations]
        kind = p.choice(("drop", "drop", "pause", "unpause", "stop"))
        if runner.held:
            kind = p.choice(("drop", "unpause", "unpause"))
        elif self.patient and kind == "stop":
            kind = "pause"
        request = Request(kind, p.random() < 0.5, p.choice(ids) if ids else "nobody", "why not", "ada")
        self.say(lambda: f"a person asks: {kind} {request.configuration_id[:4] * (kind == 'drop')}")
        runner.steer([request])
        self.told[f"asked to {kind}"] += 1

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
        # who dropped somebody may have died before it knew
        if self.auditor.dropped or not (self.promised and self.setting.promises(went_on=went_on)):
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
                plain(value) == plain(its[name]),
                "decisions are those of the undisturbed world",
                name,
                value,
                its[name],
            )
        self.told["compared"] += 1

    def _always_pure(self) -> bool:
        return all(name in PURE for name, _ in self.rules)


@contextlib.contextmanager
def logged_nothing() -> Iterator[None]:
    """Torn lines and silent servers are what a world is made of."""
    before = logging.root.manager.disable
    if before >= logging.WARNING:
        yield
        return
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
