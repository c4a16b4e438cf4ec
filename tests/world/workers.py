"""Simulated workers: they finish, crash, hang, vanish with their machine, answer twice, or long after nobody asks."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, replace
from typing import Any

from raysearch.execution.packing import Pack
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.together import Screened
from raysearch.records import DONE, WAIT, InstanceResult, TrialRequest

from .auditor import Auditor
from .books import hold
from .setting import Setting


@dataclass
class Trial:
    """A pack on a worker."""

    pack: Pack
    how: str
    late: bool = False


def result_of(setting: Setting, race: Any, key: Any) -> InstanceResult:
    """Return what an instance comes to, whoever trains it."""
    phase, index = race.state.seeds.index(key.seed)
    x = race.state.configuration(key.configuration_id).parameters["x"]
    loss = float(setting.losses[x, index if phase.value == "race" else -1 - index])
    curve = (loss,) * 4 if setting.screen else ()
    return InstanceResult.of(key, loss, curve=curve, seconds=1.0 + key.seed % 7, metrics={"m": key.seed % 11})


class Workers:
    """The cluster of one driver; `world` is asked between events for what else may happen."""

    most_steps = 20_000

    def __init__(self, setting: Setting, g: random.Random, auditor: Auditor, world: Any) -> None:
        self.setting, self.g, self.auditor, self.world = setting, g, auditor, world
        self.heap: list[tuple[float, int, Trial]] = []
        self.n = 0

    def execute(self, runner: RaceRunner) -> None:
        """Train what the race asks for until it is done."""
        slots = self.setting.n_workers
        runner.begin(slots, self.setting.packer)
        runner.on_stopped = lambda keys: self._end_obsolete(runner)
        for _ in range(self.most_steps):
            self.world.between(runner)
            if runner.failure is not None:
                raise runner.failure
            if self.g.random() < self.setting.faults.node:
                slots = self._change_slots(runner, slots)
            answered: Any = WAIT
            free = slots - len(self.heap)
            for _ in range(self.g.choice((1, free, free)) if free > 0 else 0):
                answered = runner.ask_pack()
                if not isinstance(answered, Pack):
                    break
                self._start(runner, answered)
            if not self.heap:
                if answered is DONE:
                    return
                at_rest = runner.held or runner.failure is not None
                hold(isinstance(answered, Pack) or free <= 0 or at_rest, "nobody waits where nothing runs")
                self.world.clock.sleep(1.0 if at_rest else 0.0)
                continue
            now, _, trial = heapq.heappop(self.heap)
            self.world.clock.now = max(self.world.clock.now, now)
            self._end(runner, trial)
        hold(False, "once faults stop, the search ends", self.most_steps)

    def _start(self, runner: RaceRunner, pack: Pack) -> None:
        g, state = self.g, runner.race.state
        hold(not self.auditor.learnt.keys() & set(pack.keys), "nobody trains what an earlier search had", pack.keys)
        how = "complete"
        if any(self.setting.fails(key, state.attempts[key] + 1) for key in pack.keys):
            how = "crash"
        elif g.random() < self.setting.faults.crash and self._may_crash(runner, pack):
            how = g.choice(("crash", "hang", "less", "none", "status"))
        elif g.random() < self.setting.faults.twice:
            how = "twice"
        self._push(Trial(pack, how), 60.0 if how == "hang" else g.choice((1.0, g.random() * 5)))
        self.world.say(lambda: f"start {_named(pack)} {how}")

    def _may_crash(self, runner: RaceRunner, pack: Pack) -> bool:
        """A fault of the machine's is promised to change nothing only as long as tries are left."""
        attempts, retries = runner.race.state.attempts, self.setting.race["retries"]
        return all(attempts[key] + 1 <= retries for key in pack.keys)

    def _push(self, trial: Trial, seconds: float) -> None:
        self.n += 1
        heapq.heappush(self.heap, (self.world.clock.now + seconds * self.setting.pace, self.n, trial))

    def _change_slots(self, runner: RaceRunner, slots: int) -> int:
        """A node leaves, with all that runs on it, or joins."""
        if self.g.random() < 0.5:
            return slots + 2
        for _ in range(min(2, len(self.heap))):
            trial = self.heap.pop(self.g.randrange(len(self.heap)))[2]
            heapq.heapify(self.heap)
            if self._may_crash(runner, trial.pack):
                self._crash(runner, trial, "the node is gone")
            else:
                self._push(trial, 1.0)
        return max(slots - 2, 1)

    def _end(self, runner: RaceRunner, trial: Trial) -> None:
        self.world.say(lambda: f"end {_named(trial.pack)} {trial.how}")
        if trial.how in ("crash", "hang"):
            if not trial.late:
                self._crash(runner, trial, trial.how)
            return
        pack, state = trial.pack, runner.race.state
        left, screened = results_of(self.setting, runner.race, pack)
        brought: Any = left
        if left and trial.how in ("less", "none", "status") and all(key in state.running for key in pack.keys):
            damaged = replace(left[0], status=self.g.choice(("FAILED", "STOPPED", "odd")))
            brought = {"less": left[:-1], "none": None, "status": [damaged, *left[1:]]}[trial.how]
        stopped = runner.complete(pack, brought, "node", screened)
        if trial.how == "twice":
            hold(not runner.complete(pack, brought, "node", screened), "a result that comes twice changes nothing")
        if stopped:
            self._end_obsolete(runner)

    def _crash(self, runner: RaceRunner, trial: Trial, why: str) -> None:
        if runner.fail_pack(trial.pack, why, "node"):
            self._end_obsolete(runner)

    def _end_obsolete(self, runner: RaceRunner) -> None:
        """End the trials that nobody waits for; some go on, and answer late."""
        kept = []
        for entry in self.heap:
            if any(map(runner.awaited, entry[2].pack.keys)):
                kept.append(entry)
            elif self.g.random() < self.setting.faults.late:
                entry[2].late = True
                kept.append(entry)
        self.heap = kept
        heapq.heapify(self.heap)


def results_of(setting: Setting, race: Any, pack: Pack) -> tuple[list[InstanceResult], list[Screened]]:
    """Return what a pack comes to: results, and who was screened out."""
    results = {key: result_of(setting, race, key) for key in pack.keys}
    screened = [one for request in pack.requests if (one := _screened(request, results[request.keys[0]]))]
    out = {key for key, *_ in screened}
    return [results[key] for key in pack.keys if key not in out], screened


def _screened(request: TrialRequest, result: InstanceResult) -> Screened | None:
    """Return how a request's first instance ended at a rung, None where it did not."""
    for epoch, cutoff in sorted(request.cutoffs.items()):
        if not result.loss <= cutoff:
            return request.keys[0], result.curve[:epoch], cutoff, 0.1, ""
    return None


def _named(pack: Pack) -> str:
    return " + ".join(f"{one.configuration.id[:4]} {one.seeds}" for one in pack.requests)
