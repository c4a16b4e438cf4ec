"""One long search in the world, in which something breaks after every hundred results.

One fault in forty kills the driver, and the next one reads the whole journal: the time of that grows with the square of
the search. All others cost as little in a long search as in a short one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from raysearch.records import Configuration

from .books import hold
from .driver import Driver
from .setting import N_COLUMNS, Faults, Setting
from .store import Tracked
from .workers import Trial, Workers
from .world import World

EVERY = 100
"""So many results from one fault to the next."""
MIX = {"an instance fails": 16, "a worker is lost": 12, "the tracker is away": 11, "the driver is killed": 1}
"""Of forty faults in a row, in random order; every second killed driver goes with the power."""
WARMUP, MOST_CONFIRMED = 5, 40
ALWAYS_FAILING = 997
"""One instance in so many crashes whenever it is tried, beside the faults."""


class LongSetting(Setting):
    """A search of many configurations, all in one wave."""

    def propose(self, outcomes: Any) -> list[Configuration]:
        """Return the whole pool."""
        return [] if outcomes else [Configuration.of({"x": x}) for x in range(self.n)]


def setting_of(n_instances: int) -> LongSetting:
    """Return a search of Algorithm 1 that asks for so many instances, its confirmation included."""
    n = (n_instances - MOST_CONFIRMED // 2) // (WARMUP + 1)
    raced, left = WARMUP * n, n
    while (left := left // 2) > 1:
        raced += left
    g = np.random.default_rng(11)
    return LongSetting(
        losses=1 + 0.3 * g.normal(size=(n, 1)) + 0.1 * g.normal(size=(n, N_COLUMNS)),
        rule=("halving", {"warmup": WARMUP}),
        criterion="median",
        race={"block": 1, "retries": 2, "ahead": False, "seed": 7},
        wave=n,
        n=n,
        n_workers=32,
        failing=(*([0] * (ALWAYS_FAILING - 1)), 9),
        raise_on_failure=False,
        screen=False,
        mlflow=True,
        measures=0,
        confirm=n_instances - raced,
        later=[],
        faults=Faults(power=0.5, store=1e-9),  # it may be away when a driver begins
        every=2000,
    )


class Cluster(Workers):
    """Workers that fail where the world says so."""

    most_steps = 10**9

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.world.cluster = self

    def choose(self, runner: Any) -> Trial | None:
        """Return a running trial that may crash once more, None where there is none."""
        fit = [trial for *_, trial in self.heap if trial.how == "complete" and self._may_crash(runner, trial.pack)]
        return self.g.choice(fit) if fit else None

    def lose(self, runner: Any, trial: Trial) -> None:
        """Let a worker vanish with what it trains."""
        self.heap = [entry for entry in self.heap if entry[2] is not trial]
        self.heap.sort()
        self._crash(runner, trial, "the worker died without a word")


class Soak(World):
    """A world of one long search."""

    workers = Cluster
    most_drivers = 10**9

    def __init__(self, n_instances: int, every: int = EVERY, mix: Mapping[str, int] = MIX, seed: int = 0) -> None:
        super().__init__(seed, setting=setting_of(n_instances))
        self.steered, self.cluster, self.mix = False, None, mix
        self.every, self.next_at, self.queue = every, every, list[str]()
        self.faults = random.Random(f"soak {seed}")

    def _arm(self, *, last: bool) -> None:
        self.fuse.left = None
        self.store.mend()

    def between(self, runner: Any) -> None:
        """Let something break when it is time; a fault that finds nobody to hit waits for somebody."""
        if self.clock.now < self.store.silent_until:
            self.store.p_lost_answer = 0.0
        if runner.race.state.counts["told"] >= self.next_at and self._strike(runner):
            self.next_at += self.every
        super().between(runner)

    def _sync(self) -> None:
        """Tell the store once what it missed: it has room for no second one beside it."""
        self.fuse.left = None
        self.store.mend()
        tracker = Tracked.on(self.store)
        Driver(self.setting, self.disk, self.clock, self.auditor, tracker).sync()
        hold(tracker.n_lost == 0, "a server that answers gets everything", tracker.n_lost)
        self.auditor.check_store(self.store.image())
        self.told["synced"] += 1

    def _strike(self, runner: Any) -> bool:
        if not self.queue:
            self.queue = [name for name, n in self.mix.items() for _ in range(n)]
            self.faults.shuffle(self.queue)
        what = self.queue[-1]
        if what == "the driver is killed":
            self.fuse.left = self.faults.randint(0, 200)
        elif what == "the tracker is away":
            if self.faults.random() < 0.5:
                self.store.p_lost_answer = 1.0  # of one request, which is carried out all the same
            else:
                self.store.silent_until = self.clock.now + self.faults.choice((1.0, 10.0, 60.0))
        else:
            trial = self.cluster.choose(runner)
            if trial is None:
                return False
            if what == "a worker is lost":
                self.cluster.lose(runner, trial)
            else:
                trial.how = "crash"
        self.queue.pop()
        self.told[what] += 1
        return True


def soak(n_instances: int) -> None:
    """Carry a search out in which so many instances are trained, and say what came of it; raises where it broke."""
    start, world = time.process_time(), Soak(n_instances)
    told = world.run()
    n_faults = sum(told[what] for what in MIX)
    hold(told["killed drivers"] == told["the driver is killed"], "who is to die dies", told)
    hold(told["compared"] == 1, "decisions are compared", told)
    events, auditor = world.auditor.lines, world.auditor
    failed = sum(one["status"] == "FAILED" for one in auditor.told.values())
    print(
        f"{auditor.n_asked} instances, {len(events)} events, {n_faults} faults: {dict(told)}; {failed} always failing"
    )
    print(f"none lost, decisions as undisturbed, {time.process_time() - start:.0f} s of processor time")
