"""The conductor stands between a race, those who execute it and those who watch it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raysearch.criteria import Criterion
from raysearch.criteria.summary import summarize
from raysearch.errors import RaysearchError, WorkloadError
from raysearch.race.race import Race
from raysearch.race.state import State
from raysearch.race.verdict import progress
from raysearch.records import Eliminate, InstanceKey, InstanceResult, Phase, Progress, Signal, Status, Train
from raysearch.tracking import Tracker

_PROGRESS_EVERY_S = 0.1
"""Least time between two views of a race in which instances end, and"""
_LOOK_EVERY_S = 1.0
"""of one in which all of them are long."""
_HOPELESS = 5
"""So many failed instances, and no other, end a search: its workload is broken, not its configurations."""


class Conductor:
    """Passes asks and tells to the race, and what follows from them to the tracker.

    Args:
        race: decides.
        tracker: hears; never waited for.
        raise_on_failure: end the search with WorkloadError when an instance has failed more often than retries allow.
    """

    def __init__(self, race: Race, tracker: Tracker, *, raise_on_failure: bool = False) -> None:
        self.race, self.tracker, self.raise_on_failure = race, tracker, raise_on_failure
        self.failure: RaysearchError | None = None
        """Why the search cannot go on: executors raise it."""
        self.n_slots = 0
        self.count_running: Callable[[], int] | None = None
        """Returns how many instances have a worker, for executors in which others wait for one."""
        self.on_given_up: Callable[[InstanceKey], None] | None = None
        """Called with an instance that was ended early, and will not go on."""
        self._n_eliminations = len(race.state.eliminations)
        self._n_cuts = len(race.state.cuts)
        self._started = time.monotonic()
        self._progress_at = -math.inf
        self._news = True
        self._told_before = race.state.counts["told"]

    def ask(self, n: int = 1) -> list[Train] | Signal:
        """Return what to train next; see Race.ask."""
        answer = self.race.ask(n)
        if isinstance(answer, list):
            self._news = True
            for train in answer:
                self.tracker.started(train)
        self._pass_on_news()
        self.look()
        return answer

    def look(self) -> None:
        """Show how the race stands, unless it was shown a moment ago; called by executors while instances run.

        After a result it waits for what is handed out in its place, so that the number of running instances is right.
        """
        every_s = _PROGRESS_EVERY_S if self._news else _LOOK_EVERY_S
        if time.monotonic() >= self._progress_at + every_s:
            self._show()

    def tell(self, result: InstanceResult) -> None:
        """Take in a result; one that was told before is passed over, and what is no result counts as a failure."""
        try:
            counted = self.race.tell(result)
        except ValueError as error:
            self.fail(result.key, str(error), result.node)
            return
        if counted is not None:
            self._told(counted)

    def complete(self, block: Train, results: Any, node: str = "") -> None:
        """Take in what a workload returned for a block on `node`: an instance that got no result has failed."""
        by_key: dict[InstanceKey, InstanceResult] = {}
        with contextlib.suppress(TypeError):  # None, say, instead of a list
            by_key = {one.key: one for one in results if isinstance(one, InstanceResult)}
        for key in block.keys:
            result = by_key.get(key)
            if result is None:
                self.fail(key, f"the workload returned no result for seed {key.seed}, but {_in_short(results)}", node)
            elif result.status is Status.FAILED:
                self.fail(key, result.error or "the workload returned a result of status FAILED", result.node or node)
            else:
                self.tell(result if result.node else replace(result, node=node))

    def fail_block(self, block: Train, error: str, node: str = "") -> None:
        """Take in the crash of a whole block; several instances are tried again one by one: it may have been one."""
        if len(block.keys) == 1:
            self.fail(block.keys[0], error, node)
        else:
            self.race.lose(block.keys)
            self._news = True

    def fail(self, key: InstanceKey, error: str, node: str = "") -> None:
        """Take in a crash, to be tried again or, at last, to count as +inf."""
        result = self.race.fail(key, error, node)
        if result is not None:
            self._told(result)
            self.failure = self.failure or self._reason_to_end(result)

    def screen_out(self, key: InstanceKey, curve: Sequence[float], cutoff: float, seconds: float, node: str) -> None:
        """Note that a first instance ended at a rung, and its configuration with it."""
        self.race.screen_out(key, curve, cutoff, seconds, node)
        self._give_up(key)
        self._pass_on_news()

    def stop(self, key: InstanceKey) -> None:
        """Note that a superfluous instance was ended early."""
        self.race.stop(key)
        self._give_up(key)

    def superfluous(self, key: InstanceKey) -> bool:
        """Return whether nobody waits any more for an instance."""
        return self.race.state.superfluous(key)

    @property
    def given_up(self) -> list[InstanceKey]:
        """Race instances that were ended early and will not go on, those of earlier drivers among them."""
        state = self.race.state
        ids = [configuration.id for configuration in state.pool.configurations]
        stopped = ((ids[row], index) for row, indices in state.pool.stopped.items() for index in sorted(indices))
        return [InstanceKey(id_, state.seeds.seed(Phase.RACE, index)) for id_, index in stopped]

    @property
    def n_decisions(self) -> int:
        """Number of cuts and verdicts so far; only when it grows can running instances become superfluous."""
        state = self.race.state
        return len(state.eliminations) + len(state.cuts) + (state.verdict is not None) + state.wave

    def progress(self) -> Progress:
        """Return this moment of the race, with the times of this driver."""
        now = progress(self.race, time.monotonic() - self._started, self._told_before)
        return now if self.count_running is None else replace(now, n_running=self.count_running())

    def _reason_to_end(self, failed: InstanceResult) -> WorkloadError | None:
        counts, key = self.race.state.counts, failed.key
        if self.raise_on_failure:
            fact = f"instance {key.seed} of configuration {key.configuration_id} failed {failed.attempt} times"
            return WorkloadError(f"{fact} (on_failure: raise). {self._remedy()} Its last error:\n{failed.error}")
        if counts[Status.FAILED] == counts["told"] >= _HOPELESS:
            fact = f"all of the first {counts['told']} instances failed, each {failed.attempt} times"
            return WorkloadError(
                f"{fact}: the search is ended, nothing is lost. {self._remedy()} The last error:\n{failed.error}"
            )
        return None

    def _remedy(self) -> str:
        path: Path | None = getattr(self.race.journal, "path", None)
        where = "RUN_DIR" if path is None else path.parent
        return f"Mend the cause, then `raysearch resume {where} --retry-failed` trains them again."

    def _told(self, result: InstanceResult) -> None:
        state = self.race.state
        self.tracker.told(state.configuration(result.key.configuration_id), result, state.phase(result.key))
        self._pass_on_news()
        self._news = True
        if self.race.done:  # nobody asks any more
            self._show()

    def _pass_on_news(self) -> None:
        state = self.race.state
        if len(state.eliminations) == self._n_eliminations and len(state.cuts) == self._n_cuts:
            return
        new = state.eliminations[self._n_eliminations :]
        self._n_eliminations, self._n_cuts = len(state.eliminations), len(state.cuts)
        announce(new, state, self.race.criterion, self.tracker)
        self._show()  # a tracker keeps survivors and incumbent of every round

    def _show(self) -> None:
        self._progress_at, self._news = time.monotonic(), False
        self.tracker.progress(self.progress())

    def _give_up(self, key: InstanceKey) -> None:
        if self.on_given_up is not None and not self.race.state.awaited(key):  # the last one left is trained again
            self.on_given_up(key)


def _in_short(results: Any) -> str:
    try:
        seeds = [one.key.seed for one in results]
    except (TypeError, AttributeError):
        return f"{results!r:.80}"
    return f"those of seeds {seeds[:8]}" if seeds else "none at all"


def announce(cut: list[Eliminate], state: State, criterion: Criterion, tracker: Tracker) -> None:
    """Tell a tracker of eliminations: the scores of all that were in each round, then who is out.

    Whoever was screened out was in no round. Several rounds may end at once, where all instances are there already.
    """
    ended = {elimination.round for elimination in cut}
    for round_, n_instances, rows in state.rounds:
        for row in rows if round_ in ended else ():
            losses = state.pool.losses[row, :n_instances]
            if not np.isnan(losses).all():
                tracker.scored(state.pool.configurations[row], round_, summarize(losses, criterion))
    for elimination in cut:
        tracker.eliminated(state.configuration(elimination.configuration_id), elimination)
