"""Bugs to be planted, each by its name: the auditor is tested by whether worlds find them. The product knows none.

Each takes a `patch(object, name, value)`. Those marked with * were defects of a release or of an earlier state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from raysearch.driver import sync
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.steering import Steering
from raysearch.race import dropping, finalists
from raysearch.race.confirmations import Confirmations
from raysearch.race.loss_matrix import Pool
from raysearch.race.race import Race
from raysearch.race.state import State
from raysearch.records import InstanceResult, Phase, Status
from raysearch.rules import halving, sequential_halving
from raysearch.storage import decoding, encoding
from raysearch.storage import events as e
from raysearch.storage.journal import Journal

from . import driver, machine

Patch = Callable[[Any, str, Any], None]
PLANTED: dict[str, Callable[[Patch], None]] = {}


def bug(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
    PLANTED[plant.__name__] = plant
    return plant


# ---- disk


@bug
def a_skipped_fsync(patch: Patch) -> None:
    patch(machine.File, "sync", lambda self: None)


@bug
def a_torn_line_is_left(patch: Patch) -> None:
    patch(Journal, "_cut_torn_line", lambda self: None)


@bug
def a_second_driver_gets_in(patch: Patch) -> None:
    patch(Journal, "_lock", lambda self: True)


@bug
def a_partial_write_is_taken_for_whole(patch: Patch) -> None:
    def write(self: Any, line: Any, time_s: float | None = None) -> None:
        text = json.dumps({**line, "t": time_s or 0.0}, separators=(",", ":"))
        self._file.write(memoryview(text.encode() + b"\n"))
        self._file.sync()

    patch(Journal, "write", write)


# ---- race


@bug
def a_double_tell(patch: Patch) -> None:
    patch(State, "awaited", lambda self, key: key.configuration_id in self.pool.rows)


@bug
def a_lost_stop(patch: Patch) -> None:
    patch(State, "obsolete", lambda self, key: False)


@bug
def an_off_by_one_round(patch: Patch) -> None:
    original = State._on_eliminate

    def eliminate(self: Any, event: Any) -> None:
        original(self, event)
        self.round -= 1

    patch(State, "_on_eliminate", eliminate)


@bug
def one_try_too_few(patch: Patch) -> None:
    def fail(self: Any, key: Any, error: str, node: str = "") -> Any:
        if key not in self.state.running:
            return []
        attempt = self.state.attempts[key] + 1
        self._commit(e.Failure(key, attempt, error, node))
        if attempt < self.retries:
            return self._events()
        return self.tell(InstanceResult(key, math.inf, Status.FAILED, node=node, error=error))

    patch(Race, "fail", fail)


@bug
def what_was_in_flight_is_forgotten(patch: Patch) -> None:
    patch(Race, "requeue_running", lambda self: [])


@bug
def an_extra_try_after_a_crash(patch: Patch) -> None:  # *
    patch(Race, "requeue_running", lambda self: self.lose(sorted(self.state.running)))


@bug
def what_was_started_ahead_counts(patch: Patch) -> None:  # *
    patch(Pool, "judged_losses", lambda self, row: self.losses[row])


@bug
def a_batch_cut_short_is_not_completed(patch: Patch) -> None:  # *
    patch(Race, "replay", lambda self, entries: self.state.replay(entries))


@bug
def who_lost_in_an_earlier_wave_survives(patch: Patch) -> None:  # *
    patch(State, "survivors", property(lambda self: np.flatnonzero(self.pool.alive)))


@bug
def an_earlier_winner_is_confirmed_for_the_new_one(patch: Patch) -> None:
    patch(Confirmations, "n_asked", lambda self, row: len(self.asked.get(0, ())))
    original = Confirmations.next
    patch(Confirmations, "next", lambda self, row, n, wanted: original(self, 0, n, wanted))


@bug
def a_stopped_column_is_left_out(patch: Patch) -> None:
    def next_columns(self: Any, row: int, n: int) -> list[int]:
        return list(range(int(self.asked[row]), int(self.asked[row]) + n))

    patch(Pool, "next_columns", next_columns)


@bug
def the_worst_finalist_wins(patch: Patch) -> None:
    patch(finalists, "leader", lambda losses, criterion: int(np.argmax(criterion(losses))))


# ---- rules


@bug
def a_budget_exceeded(patch: Patch) -> None:
    original = sequential_halving._schedule
    patch(sequential_halving, "_schedule", lambda n, budget: original(n, budget + n))


@bug
def the_better_half_is_cut(patch: Patch) -> None:
    original = halving.cut
    patch(halving, "cut", lambda rows, values, *rest: original(rows, -values, *rest))


# ---- people


@bug
def who_is_dropped_is_as_good_as_the_diverged(patch: Patch) -> None:  # *
    original = dropping.Without.__call__
    patch(dropping.Without, "__call__", lambda self, losses: np.nan_to_num(original(self, losses), nan=np.inf))


@bug
def a_pause_is_not_heard(patch: Patch) -> None:
    patch(Steering, "holds", property(lambda self: False))


# ---- journal


@bug
def a_replayed_attempt_is_one_off(patch: Patch) -> None:
    def decode(line: Any, known: Any) -> Any:
        return replace(decoding._to_failure(line, known), attempt=line["attempt"] + 1)

    patch(decoding, "_DECODERS", {**decoding._DECODERS, "failure": decode})


@bug
def a_verdict_forgets_on_how_much_it_rests(patch: Patch) -> None:
    def conclude(event: Any) -> Any:
        return {**encoding._conclude(event), "n_instances": None}

    patch(encoding, "_ENCODERS", {**encoding._ENCODERS, e.Conclude: ("verdict", conclude)})


# ---- drivers


@bug
def a_named_rule_is_lost(patch: Patch) -> None:  # *
    def last(history: Any, rule_of: Any) -> Any:
        return next((rule_of(n, x) for n, _, x in reversed(history) if isinstance(x, e.Start | e.Resume)), None)

    patch(driver, "rule_in_force", last)


@bug
def failures_are_taken_back_before_the_pool_is_opened(patch: Patch) -> None:  # *
    def retry_failed(self: Any) -> Any:
        failed = sorted(self.state.failed)
        for key in failed:
            self._commit(e.Retry(key))
        if any(self.state.phase(key) is Phase.RACE for key in failed):
            self._commit(e.Reopen(whole_pool=True))
        return self._events()

    patch(Race, "retry_failed", retry_failed)


@bug
def a_block_fails_as_a_whole(patch: Patch) -> None:  # *
    def fail_pack(self: Any, block: Any, error: str, node: str = "") -> Any:
        return [stopped for key in block.keys for stopped in self.fail(key, error, node)]

    patch(RaceRunner, "fail_pack", fail_pack)


@bug
def failed_in_plain_text_counts_at_once(patch: Patch) -> None:  # *
    original = RaceRunner.complete

    def complete(self: Any, block: Any, results: Any, node: str = "") -> Any:
        for one in results or ():
            if one.status == "FAILED" and self.race.state.awaited(one.key):
                return self.tell(*results)
        return original(self, block, results, node)

    patch(RaceRunner, "complete", complete)


# ---- MLflow


@bug
def a_swallowed_tracker_error(patch: Patch) -> None:
    from raysearch.tracking._writer import Writer

    def done(self: Any, *, lost: bool) -> float:
        self._due = []
        return 0.0

    patch(Writer, "_is_lost", lambda self, error: True)
    patch(Writer, "_done", done)


@bug
def a_run_is_made_twice_when_an_answer_is_lost(patch: Patch) -> None:
    from raysearch.tracking._mlflow_runs import Runs

    original = Runs.open

    def open_(self: Any, key: Any, *rest: Any) -> Any:
        self._attempted.clear()
        return original(self, key, *rest)

    patch(Runs, "open", open_)


@bug
def a_half_written_run_is_taken_for_written(patch: Patch) -> None:  # *
    from raysearch.tracking._mlflow_runs import Runs

    original = Runs._adopt

    def adopt(self: Any, key: Any, run: Any) -> None:
        original(self, key, run)
        run = self._runs[key]
        run.logged, run.half_written = run.logged or run.half_written, False

    patch(Runs, "_adopt", adopt)


@bug
def rounds_are_told_each_time_they_come(patch: Patch) -> None:  # *
    def tell_again(history: Any, race: Any, tracker: Any, run_dir: Any) -> None:
        replaced = sync.out_of_date(history)
        relay = sync.Relay(race, tracker, lambda: sync.progress(race, 0.0))
        for entry in history:
            race.replay([entry])
            if entry.number not in replaced:
                relay.hear(entry.event, entry.time_s)

    patch(driver, "tell_again", tell_again)
