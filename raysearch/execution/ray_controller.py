"""What raysearch does to Tune's controller beside scheduling: end silent workers, and forget trials that have ended."""

from __future__ import annotations

import math
import time
from typing import Any

import ray
from ray.tune.experiment import Trial

GRACE_S = 15.0
"""How much longer than its time limit a block may be silent before its worker is taken for dead."""
_LOOK_EVERY_S = 1.0


class Watchdog:
    """Ends the process of a worker that has not been heard of for too long.

    A worker looks at its clock itself, but not while a training holds the interpreter (compiled code that loops for
    ever): then only the driver can end it. Its instances are tried again like those of any other worker that died.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s
        self._heard: dict[str, float] = {}
        self._next_look = 0.0
        self.ended: dict[str, str] = {}
        """Why a worker was ended, by trial id."""

    def hear(self, trial: Trial) -> None:
        """Note a sign of life."""
        self._heard[trial.trial_id] = time.monotonic()

    def forget(self, trial: Trial) -> None:
        """Note that a trial has ended."""
        self._heard.pop(trial.trial_id, None)

    def look(self, tune_controller: Any, n_seeds: dict[str, int]) -> None:
        """End the workers of trials that were silent for longer than their block of `n_seeds` instances may take."""
        now = time.monotonic()
        if self._timeout_s is None or now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY_S
        for trial in tune_controller._running_trials | tune_controller._resetting_trials:
            silent_s = now - self._heard.setdefault(trial.trial_id, now)
            limit_s = self._timeout_s * n_seeds.get(trial.trial_id, 1) + GRACE_S
            worker = trial.temporary_state.ray_actor
            if silent_s > limit_s and worker is not None:
                self.ended[trial.trial_id] = (
                    f"the worker gave no sign of life for {silent_s:.0f} s (timeout_s = {self._timeout_s:g} per "
                    "instance) and was ended"
                )
                self._heard[trial.trial_id] = math.inf
                ray.kill(worker)


def forget_ended(tune_controller: Any, ended: list[Trial]) -> None:
    """Let the controller forget `ended` trials, which it would keep for ever: 60 kB each, and slower with each.

    A trial whose worker is still being looked after stays in the list until the next call.
    """
    left = []
    for trial in ended:
        if not trial.is_finished() or trial in tune_controller._trial_to_actor:
            left.append(trial)
            continue
        for group in ("_stopped_trials", "_failed_trials", "_live_trials", "_trials_to_cache"):
            getattr(tune_controller, group).discard(trial)
        tune_controller._trial_metadata.pop(trial.trial_id, None)
        if trial in tune_controller._trials:
            tune_controller._trials.remove(trial)
    ended[:] = left
