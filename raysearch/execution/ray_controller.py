"""What raysearch does to Tune's controller: hand free workers on, end silent ones, forget trials that have ended."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback

GRACE_S = 15.0
"""How much longer than its time limit a block may be silent before its worker is taken for dead."""
HANDOVER_S = 30.0
"""How long a worker may take to answer whether it takes the next block; its last one may hold the interpreter."""
_LOOK_EVERY_S = 1.0
_SCOUTS = 2
_PATIENCE_S = 30.0


class Watchdog:
    """Ends the process of a worker that has not been heard of for too long.

    A worker looks at its clock itself, but not while a training holds the interpreter (compiled code that loops for
    ever): then only the driver can end it. Its instances are tried again like those of any other worker that died.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s
        self._heard: dict[str, float] = {}
        self._handed_over: dict[str, float] = {}
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
        """End the workers of trials that were silent for longer than their block of `n_seeds` instances may take.

        And those that do not answer a handover: see `replace_workers`.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY_S
        resetting = tune_controller._resetting_trials
        self._handed_over = {trial.trial_id: self._handed_over.get(trial.trial_id, now) for trial in resetting}
        for trial in resetting:
            worker = trial.temporary_state.ray_actor
            if now - self._handed_over[trial.trial_id] > HANDOVER_S and worker is not None:
                self._handed_over[trial.trial_id] = math.inf
                ray.kill(worker)
        if self._timeout_s is None:
            return
        for trial in tune_controller._running_trials:
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


def hand_on_free_workers(tune_controller: Any, added: Mapping[str, float]) -> None:
    """Let pending trials take over the workers that are free.

    Left alone, the controller picks any pending trial and ends the worker that starts for it. Where instances are
    shorter than a worker's start, slots whose first worker comes late, on a host that joins, would never be used.
    `added` is when each trial came, by its id.
    """
    for group in tune_controller._resources_to_pending_trials.values():
        group.clear()  # from these the controller would pick
    staged, cache = tune_controller._staged_trials, tune_controller._actor_cache
    n_free = cache.num_cached_objects
    while n_free:
        trial = _to_run_now(tune_controller, added)
        if trial is None:
            return
        if trial in staged:
            tune_controller._maybe_reuse_cached_actor(trial)
        else:  # as the controller does with a trial that its scheduler chose
            staged.add(trial)
            cache.increase_max(trial.placement_group_factory)
            tune_controller._schedule_trial_actor(trial)
        n_free = min(n_free - 1, cache.num_cached_objects)


def _to_run_now(tune_controller: Any, added: Mapping[str, float]) -> Trial | None:
    """Return the pending trial that a free worker serves best.

    Trials whose own worker starts are passed over while others wait, and so are the oldest that wait for resources:
    theirs are the requests that a new slot will serve. None is passed over for long.
    """
    pending, resetting = tune_controller._pending_trials, tune_controller._resetting_trials
    actors, has_slot = tune_controller._trial_to_actor, tune_controller._actor_manager.is_actor_started
    trials: list[Trial] = sorted(pending - resetting, key=lambda trial: added.get(trial.trial_id, -math.inf))
    waiting = [trial for trial in trials if trial not in actors or not has_slot(actors[trial])]
    if not waiting:
        return trials[0] if trials else None
    if time.monotonic() - added.get(waiting[0].trial_id, -math.inf) > _PATIENCE_S:
        return waiting[0]
    return waiting[min(_SCOUTS, len(waiting) - 1)]


def take_memory_kills_as_deaths(tune_controller: Any, reasons: dict[str, str]) -> None:
    """Let a worker that Ray's memory monitor killed count as one that died: Tune 2.60 ends the whole Tuner instead.

    Why it was killed goes to `reasons`, by trial id.
    """
    manager = tune_controller._actor_manager
    failed = manager._actor_task_failed

    def died(tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError | NodeDiedError | WorkerCrashedError):
            trial = tune_controller._actor_to_trial.get(tracked_actor_task._tracked_actor)
            if trial is not None:
                reasons[trial.trial_id] = str(exception)
            exception = RayActorError(error_msg=str(exception))
        failed(tracked_actor_task, exception)

    manager._actor_task_failed = died


def replace_workers(tune_controller: Any, reasons: dict[str, str]) -> None:
    """Give a trial another worker where the one that it was to take over refuses, or dies meanwhile.

    A worker refuses while its last training, told to end, goes on. Tune 2.60 would end the new trial, without a word to
    searcher or scheduler or as a failure of its own, and never free its place among those that start.
    """
    manager = tune_controller._actor_manager
    schedule = manager.schedule_actor_task

    def scheduled(tracked_actor: Any, method_name: str, **more: Any) -> Any:
        if method_name != "reset":
            return schedule(tracked_actor, method_name, **more)
        trial, take_over = tune_controller._actor_to_trial[tracked_actor], more["on_result"]

        def answered(tracked_actor: Any, success: bool) -> None:
            if success:
                tracked_actor.set_on_error(tune_controller._actor_failed)
                take_over(tracked_actor, success)
            else:
                _take_worker_away(tune_controller, trial)

        def failed(tracked_actor: Any, exception: Exception) -> None:
            reasons.pop(trial.trial_id, None)
            _take_worker_away(tune_controller, trial)

        tracked_actor.set_on_error(None)  # it would count a death as the trial's failure
        return schedule(tracked_actor, method_name, **{**more, "on_result": answered, "on_error": failed})

    manager.schedule_actor_task = scheduled


def _take_worker_away(tune_controller: Any, trial: Trial) -> None:
    """End the worker that a trial was to take over, if it lives, and ask for another one."""
    worker = tune_controller._trial_to_actor.pop(trial)
    tune_controller._actor_to_trial.pop(worker)
    tune_controller._resetting_trials.discard(trial)
    tune_controller._started_actors.discard(worker)
    trial.set_ray_actor(None)
    worker.set_on_stop(None)
    worker.set_on_error(None)
    tune_controller._actor_manager.clear_actor_task_futures(worker)
    tune_controller._actor_manager.remove_actor(worker, kill=True)
    tune_controller._schedule_trial_actor(trial)


def tell_to_end(trial: Trial) -> None:
    """Tell the worker of a trial that nobody waits for, before it is set free; a user's own trainable cannot hear."""
    end_training = getattr(trial.temporary_state.ray_actor, "end_training", None)
    if end_training is not None:
        end_training.remote()


class NoProgress(TrialProgressCallback):  # type: ignore[misc]
    """Stands in for Tune's own view of its progress, which would print nothing here but keep every trial for ever."""

    def on_trial_result(self, *arguments: Any, **more: Any) -> None:
        """Do nothing."""

    def on_trial_error(self, *arguments: Any, **more: Any) -> None:
        """Do nothing."""

    def on_trial_complete(self, *arguments: Any, **more: Any) -> None:
        """Do nothing."""


def forget_ended(tune_controller: Any, ended: list[Trial]) -> None:
    """Let the controller forget `ended` trials, which it would keep for ever.

    A trial whose worker is still being looked after stays in the list until the next call.
    """
    left = []
    for trial in ended:
        if not trial.is_finished() or trial in tune_controller._trial_to_actor:
            left.append(trial)
            continue
        for group in ("_stopped_trials", "_failed_trials", "_live_trials", "_trials_to_cache", "_resetting_trials"):
            getattr(tune_controller, group).discard(trial)
        tune_controller._trial_metadata.pop(trial.trial_id, None)
        shutil.rmtree(trial.local_path, ignore_errors=True)
        if trial in tune_controller._trials:
            tune_controller._trials.remove(trial)
    ended[:] = left


def end_workers(tune_controller: Any) -> None:
    """End all workers now: left to itself, a Tuner that Ctrl-C breaks off lets them train on for nobody."""
    with suppress(Exception):  # whatever state it was broken off in; what ended the Tuner is the error to show
        tune_controller._actor_manager.cleanup()


def remove_folders(experiment: Path) -> None:
    """Remove what Tune left of an experiment in Ray's session on this machine, but nothing that a training wrote."""
    shutil.rmtree(experiment / "driver_artifacts", ignore_errors=True)
    working = experiment / "working_dirs"
    for folder in (*working.glob("*"), working, experiment, experiment.parent):
        with suppress(OSError):  # of a training that wrote there
            folder.rmdir()
