"""The runner stands between a race, those who execute it and those who watch it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from raysearch.errors import RaysearchError
from raysearch.execution.hopeless import broken_workload
from raysearch.execution.packing import Pack, Packer
from raysearch.execution.steering import Steering
from raysearch.execution.together import Screened
from raysearch.race.race import Race
from raysearch.race.verdict import progress
from raysearch.records import (
    DONE,
    WAIT,
    InstanceKey,
    InstanceResult,
    PackGain,
    Phase,
    Progress,
    Signal,
    Status,
    TrialRequest,
)
from raysearch.storage.clock import CLOCK, Clock
from raysearch.storage.events import Drop, Eliminate, Event, Packs, Screen, Stop, Tell
from raysearch.storage.requests import Request
from raysearch.tracking import Tracker
from raysearch.tracking.relay import Relay

_PROGRESS_EVERY_S = 0.1
"""Least time between two views of a race in which instances end, and"""
_LOOK_EVERY_S = 1.0
"""of one in which all of them are long."""


class RaceRunner:
    """Passes asks and tells to the race, and what follows from them to the tracker and to the executor.

    Whatever brings something to the race returns the instances that nobody waits for any more: the executor ends them.

    Args:
        race: decides.
        tracker: hears; never waited for.
        raise_on_failure: end the search with WorkloadError when an instance has failed more often than retries allow.
        clock: that of whoever executes the race, too.
    """

    def __init__(self, race: Race, tracker: Tracker, *, raise_on_failure: bool = False, clock: Clock = CLOCK) -> None:
        self.race, self.tracker, self.raise_on_failure, self.clock = race, tracker, raise_on_failure, clock
        self.failure: RaysearchError | None = None
        """Why the search cannot go on: executors raise it."""
        self.n_slots = 0
        self.count_running: Callable[[], int] | None = None
        """Returns how many instances have a worker, for executors in which others wait for one."""
        self.on_given_up: Callable[[InstanceKey], None] | None = None
        """Called with an instance that was ended early, and will not go on."""
        self.on_stopped: Callable[[Sequence[InstanceKey]], None] | None = None
        """Called with instances that nobody waits for since somebody steered the search: the executor ends them."""
        self._packer = Packer()
        self._relay = Relay(race, tracker, self.progress)
        self._started = self.clock.monotonic()
        self._progress_at = -math.inf
        self._news = True
        self._told_before = race.state.counts["told"]
        race.listener = self._hear
        self._steering = Steering(race, clock)

    def begin(self, n_slots: int, packer: Packer | None = None) -> None:
        """Note how many trials can run at once, and what makes packs of them; called by executors before they ask."""
        self.n_slots, self._packer = n_slots, packer or self._packer
        if self.race.screening is not None or self.race.ahead:
            self._packer.pack_nothing_unasked()  # who waits to fill a pack knows less, or trains what nobody wants
        self.race.begin(n_slots * self._packer.width)

    def ask(self, n: int = 1) -> list[TrialRequest] | Signal:
        """Return up to `n` trials to train now, WAIT while a decision needs running instances, or DONE."""
        self._heed()
        trials = [] if self.held else self._unknown(n)
        self._news |= bool(trials)
        self._show_at_times()
        return trials or (DONE if self.race.done else WAIT)

    def _unknown(self, n: int) -> list[TrialRequest]:
        """Return up to `n` trials that the race asks for; what an earlier search has trained is told to it at once."""
        while asked := [event for event in self.race.ask(n) if isinstance(event, TrialRequest)]:
            known, rest = self.race.state.learnt.split(asked)
            if not known:
                return rest
            self._told_before += len(known)  # they say nothing of how fast this driver trains
            ended = self.tell(*known)
            if ended and self.on_stopped is not None:
                self.on_stopped(ended)
            if rest := [one for one in rest if any(map(self.awaited, one.keys))]:
                return rest
        return []

    def ask_pack(self) -> Pack | Signal:
        """Return what the next trial trains, WAIT while a decision needs running instances, or DONE."""
        while True:
            pack = self._packer.take(whole=True)
            answer: object = None
            if pack is None:
                answer = self.ask(self._packer.n_wanted)
                if isinstance(answer, list):
                    self._packer.add(answer)
                    continue
                pack = self._packer.take(whole=False)
            if pack is None:
                return DONE if answer is DONE else WAIT
            left = tuple(request for request in pack.requests if any(map(self.awaited, request.keys)))
            if left:
                return Pack(left, pack.measures)
            self._packer.learn(pack, None)

    def look(self) -> None:
        """Show how the race stands, unless it was shown a moment ago; called by executors while instances run.

        After a result it waits for what is handed out in its place, so that the number of running instances is right.
        """
        self._heed()
        self._show_at_times()

    @property
    def held(self) -> bool:
        """Whether a person lets no further instance begin: to wait is right then."""
        return self._steering.holds

    def steer(self, requests: Sequence[Request]) -> None:
        """Do what people ask for; executors that look find out what came of it."""
        ended = self._follow(self._steering.do(requests))
        if self.held:  # what nobody trains yet does not begin: it is asked for again, first, when the race goes on
            self._follow(self.race.lose(self._packer.empty()))
        if ended and self.on_stopped is not None:
            self.on_stopped(ended)

    def give_back(self, pack: Pack) -> None:
        """Take back a pack that was handed out and that no worker has begun, or that brought nothing."""
        self._learn(pack, None, "")
        self._follow(self.race.lose(pack.keys))

    def _heed(self) -> None:
        if requests := self._steering.new():
            self.steer(requests)
        self.failure = self.failure or self._steering.ended()

    def tell(self, *results: InstanceResult) -> list[InstanceKey]:
        """Take in results that came together; what is none counts as a failure of its instance."""
        try:
            return self._follow(self.race.tell(*results))
        except ValueError as error:
            if len(results) == 1:
                return self.fail(results[0].key, str(error), results[0].node)
        return [key for result in results for key in self.tell(result)]

    def complete(
        self,
        pack: Pack,
        results: Any,
        node: str = "",
        screened: Sequence[Screened] = (),
        gain: PackGain | None = None,
    ) -> list[InstanceKey]:
        """Take in what a workload returned for a pack on `node`: an instance that got no result has failed.

        `gain` is what its worker has measured of packs.
        """
        self._learn(pack, gain, node)
        by_key: dict[InstanceKey, InstanceResult] = {}
        with contextlib.suppress(TypeError):  # None, say, instead of a list
            by_key = {one.key: one for one in results if isinstance(one, InstanceResult)}
        whole, failed = [], {}
        ended = {key for key, *_ in screened}
        for key in pack.keys:
            result = by_key.get(key)
            if key in ended or not self.awaited(key):
                continue
            if result is None:
                failed[key] = f"the workload returned no result for seed {key.seed}, but {_in_short(results)}", node
            elif result.status == Status.FAILED:  # a workload may say so in plain text
                failed[key] = result.error or "the workload returned a result of status FAILED", result.node or node
            else:
                whole.append(result if result.node or not node else replace(result, node=node))
        stopped = self.tell(*whole) if whole else []
        stopped += [key for one in screened for key in self.screen_out(*one)]
        return stopped + [key for broken, why in failed.items() for key in self.fail(broken, *why)]

    def fail_pack(self, pack: Pack, error: str, node: str = "") -> list[InstanceKey]:
        """Take in the crash of a whole pack; several instances are tried again one by one: it may have been one."""
        self._learn(pack, None, node)
        if len(pack.keys) == 1:
            return self.fail(pack.keys[0], error, node)
        self._packer.keep_apart(pack.keys)
        return self._follow(self.race.lose(pack.keys))

    def fail(self, key: InstanceKey, error: str, node: str = "") -> list[InstanceKey]:
        """Take in a crash, to be tried again or, at last, to count as +inf."""
        return self._follow(self.race.fail(key, error, node))

    def screen_out(
        self, key: InstanceKey, curve: Sequence[float], cutoff: float, seconds: float, node: str
    ) -> list[InstanceKey]:
        """Note that a first instance ended at a rung, and its configuration with it."""
        return self._follow(self.race.screen_out(key, curve, cutoff, seconds, node))

    def stop(self, key: InstanceKey) -> None:
        """Note that an instance was ended early."""
        self._follow(self.race.stop(key))

    def give_up(self, pack: Pack) -> None:
        """Note that a whole pack was ended early."""
        self._learn(pack, None, "")
        for key in pack.keys:
            self.stop(key)

    def awaited(self, key: InstanceKey) -> bool:
        """Return whether anybody still waits for the result of an instance."""
        return self.race.state.awaited(key)

    @property
    def given_up(self) -> list[InstanceKey]:
        """Race instances that were ended early and will not go on, those of earlier drivers among them."""
        state = self.race.state
        ids = [configuration.id for configuration in state.pool.configurations]
        stopped = ((ids[row], index) for row, indices in state.pool.stopped.items() for index in sorted(indices))
        return [InstanceKey(id_, state.seeds.seed(Phase.RACE, index)) for id_, index in stopped]

    def progress(self) -> Progress:
        """Return this moment of the race, with the times of this driver."""
        now = progress(self.race, self.clock.monotonic() - self._started, self._told_before)
        return now if self.count_running is None else replace(now, n_running=self.count_running())

    def _learn(self, pack: Pack, gain: PackGain | None, node: str) -> None:
        measures = getattr(pack, "measures", None)  # a request for a pack of one, from executors that make none
        if measures is None:
            return
        self._packer.learn(pack, gain)
        if gain is not None:
            self._follow(self.race.note(Packs(pack.requests[0].configuration.id, gain, node)))

    def _hear(self, event: Event, time_s: float) -> None:
        """Pass an event on at once, with the race as it is then."""
        self._relay.hear(event, time_s)
        if isinstance(event, Stop | Screen) and self.on_given_up is not None:
            self.on_given_up(event.key)
        if isinstance(event, Tell) and event.result.status is Status.FAILED:
            self.failure = self.failure or broken_workload(self.race, event.result, at_once=self.raise_on_failure)

    def _follow(self, events: Sequence[Event]) -> list[InstanceKey]:
        """Show what is worth it, and return the instances to end."""
        self._news |= bool(events)
        cut = any(isinstance(event, Eliminate | Screen | Drop) for event in events)
        if cut or (events and self.race.done):  # then nobody asks any more
            self._show()
        return [event.key for event in events if isinstance(event, Stop)]

    def _show_at_times(self) -> None:
        every_s = _PROGRESS_EVERY_S if self._news else _LOOK_EVERY_S
        if self.clock.monotonic() >= self._progress_at + every_s:
            self._show()

    def _show(self) -> None:
        self._progress_at, self._news = self.clock.monotonic(), False
        self.tracker.progress(self.progress())


def _in_short(results: Any) -> str:
    try:
        seeds = [one.key.seed for one in results]
    except (TypeError, AttributeError):
        return f"{results!r:.80}"
    return f"those of seeds {seeds[:8]}" if seeds else "none at all"


Conductor = RaceRunner
"""Its name in release 0.1.0."""
