"""What raysearch makes of Tune's workers and trials: hand free ones on, end silent ones, forget what has ended."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.tune.experiment import Trial

from raysearch.execution import ray_tune_internals as internals
from raysearch.records import InstanceKey
from raysearch.storage.clock import CLOCK, Clock

GRACE_S = 15.0
"""How much longer than its time limit a pack may be silent before its worker is taken for dead."""
HANDOVER_S = 30.0
"""How long a worker may take to answer whether it takes the next pack; its last one may hold the interpreter."""
_LOOK_EVERY_S = 1.0
_SCOUTS = 2
_PATIENCE_S = 30.0


class Watchdog:
    """Ends the process of a worker that has not been heard of for too long.

    A worker looks at its clock itself, but not while a training holds the interpreter (compiled code that loops for
    ever): then only the driver can end it. Its instances are tried again like those of any other worker that died.
    """

    def __init__(self, timeout_s: float | None, clock: Clock = CLOCK) -> None:
        self._timeout_s, self._clock = timeout_s, clock
        self._heard: dict[str, float] = {}
        self._handed_over: dict[str, float] = {}
        self._next_look = 0.0
        self.ended: dict[str, str] = {}
        """Why a worker was ended, by trial id."""

    def hear(self, trial: Trial) -> None:
        """Note a sign of life."""
        self._heard[trial.trial_id] = self._clock.monotonic()

    def forget(self, trial: Trial) -> None:
        """Note that a trial has ended."""
        self._heard.pop(trial.trial_id, None)

    def look(self, tune_controller: Any, n_seeds: dict[str, int]) -> None:
        """End the workers of trials that were silent for longer than their pack of `n_seeds` instances may take.

        And those that do not answer a handover: see `ray_tune_internals.replace_workers`.
        """
        now = self._clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY_S
        handed_over = internals.handed_over(tune_controller)
        self._handed_over = {trial.trial_id: self._handed_over.get(trial.trial_id, now) for trial in handed_over}
        for trial in handed_over:
            worker = internals.worker_of(trial)
            if now - self._handed_over[trial.trial_id] > HANDOVER_S and worker is not None:
                self._handed_over[trial.trial_id] = math.inf
                ray.kill(worker)
        if self._timeout_s is None:
            return
        for trial in internals.running(tune_controller):
            silent_s = now - self._heard.setdefault(trial.trial_id, now)
            limit_s = self._timeout_s * n_seeds.get(trial.trial_id, 1) + GRACE_S
            worker = internals.worker_of(trial)
            if silent_s > limit_s and worker is not None:
                self.ended[trial.trial_id] = (
                    f"the worker gave no sign of life for {silent_s:.0f} s (timeout_s = {self._timeout_s:g} per "
                    "instance) and was ended"
                )
                self._heard[trial.trial_id] = math.inf
                ray.kill(worker)


def hand_on_free_workers(tune_controller: Any, added: Mapping[str, float], clock: Clock = CLOCK) -> None:
    """Let pending trials take over the workers that are free.

    Left alone, the controller picks any pending trial and ends the worker that starts for it. Where instances are
    shorter than a worker's start, slots whose first worker comes late, on a host that joins, would never be used.
    `added` is when each trial came, by its id.
    """
    internals.hand_on_nothing(tune_controller)
    n_free = internals.n_free_workers(tune_controller)
    while n_free:
        trial = _to_run_now(tune_controller, added, clock)
        if trial is None:
            return
        internals.hand_on(tune_controller, trial)
        n_free = min(n_free - 1, internals.n_free_workers(tune_controller))


def _to_run_now(tune_controller: Any, added: Mapping[str, float], clock: Clock) -> Trial | None:
    """Return the pending trial that a free worker serves best.

    Trials whose own worker starts are passed over while others wait, and so are the oldest that wait for resources:
    theirs are the requests that a new slot will serve. None is passed over for long.
    """
    pending = internals.pending(tune_controller)
    trials: list[Trial] = sorted(pending, key=lambda trial: added.get(trial.trial_id, -math.inf))
    waiting = [trial for trial in trials if not internals.has_slot(tune_controller, trial)]
    if not waiting:
        return trials[0] if trials else None
    if clock.monotonic() - added.get(waiting[0].trial_id, -math.inf) > _PATIENCE_S:
        return waiting[0]
    return waiting[min(_SCOUTS, len(waiting) - 1)]


def tell_to_end(trial: Trial, members: Sequence[InstanceKey] = ()) -> None:
    """Tell the worker of a trial, or `members` of its pack, that nobody waits; a user's own trainable cannot hear."""
    end_training = getattr(internals.worker_of(trial), "end_training", None)
    if end_training is not None:
        end_training.remote(list(members))


def forget_ended(tune_controller: Any, ended: list[Trial]) -> None:
    """Let the controller forget `ended` trials, which it would keep for ever.

    A trial whose worker is still being looked after stays in the list until the next call.
    """
    ended[:] = [trial for trial in ended if not internals.forget(tune_controller, trial)]


def remove_folders(experiment: Path) -> None:
    """Remove what Tune left in the folder of a Tuner, but nothing that a training wrote."""
    shutil.rmtree(experiment / "driver_artifacts", ignore_errors=True)
    working = experiment / "working_dirs"
    for folder in (*working.glob("*"), working, experiment, experiment.parent):
        with suppress(OSError):  # of a training that wrote there
            folder.rmdir()
