"""All that raysearch touches of Ray beside its public API, in one file. Read in Ray 2.60.0.

Tune has no public way to do what is done here. Where another Ray moved or renamed a member, the test
tests/execution/test_ray_internals.py names it: mend the function that uses it, then the list, which the test reads.

ray.tune.execution.tune_controller.TuneController: hands itself to a scheduler with every call
    stop_trial(trial)              ends a trial that nobody waits for
    request_stop_experiment()      ends the Tuner where the search cannot go on
    _pending_trials: set           trials that no worker trains yet
    _running_trials: set           trials that a worker trains
    _resetting_trials: set         trials that wait for the worker of an ended one to answer
    _staged_trials: set            trials that a worker was asked for
    _resources_to_pending_trials: defaultdict    the trials that it would pick from for a free worker
    _maybe_reuse_cached_actor(trial)             gives a free worker to a trial, in the place of one that starts
    _schedule_trial_actor(trial)   gives a trial a free worker, or asks for a new one
    _actor_failed(tracked_actor, exception)      hears of a worker's death
    _actor_cache: _ObjectCache     the free workers
    _actor_manager: RayActorManager              starts and ends workers, and calls them
    _actor_to_trial: dict          whom a worker trains
    _trial_to_actor: dict          who trains a trial
    _started_actors: set           workers that live
    _trials: list                  these six keep every trial for ever
    _live_trials: set
    _stopped_trials: set
    _failed_trials: set
    _trials_to_cache: set
    _trial_metadata: dict
ray.air.execution._internal.actor_manager.RayActorManager
    schedule_actor_task(tracked_actor, method_name, args, kwargs, on_result, on_error)    replaced: calls a worker
    _actor_task_failed(tracked_actor_task, exception)    replaced: hears that such a call failed
    is_actor_started(tracked_actor)              whether a worker has a slot
    clear_actor_task_futures(tracked_actor)      forgets what a worker was asked
    remove_actor(tracked_actor, kill)            ends a worker
    cleanup()                      ends all workers at once
ray.air.execution._internal.tracked_actor.TrackedActor: a worker, as the manager knows it
    set_on_stop(on_stop)           who hears of its end
    set_on_error(on_error)         who hears of its death
ray.air.execution._internal.tracked_actor_task.TrackedActorTask
    _tracked_actor: TrackedActor   the worker whose call failed
ray.tune.utils.object_cache._ObjectCache
    num_cached_objects: int        number of free workers
    increase_max(key, by)          lets more of them stay free instead of ending
ray.tune.experiment.trial.Trial
    temporary_state: _TemporaryTrialState        holds the worker
    set_ray_actor(ray_actor)       takes a worker from a trial, with None
    placement_group_factory: NoneType            what it needs, once it is added: free workers are kept by it
    last_result: dict              the last report, weights included, which Tune keeps
    error_file: property           why it failed, under a line that counts
    is_finished()                  whether Tune is done with it
    local_path: property           its folder in Ray's session on this machine
    local_experiment_path: property              `driver_artifacts` in the Tuner's folder there
ray.tune.experiment.trial._TemporaryTrialState
    ray_actor: NoneType            the worker, while there is one
ray.tune.progress_reporter.TrialProgressCallback: Tune adds one of its own where no callback is one
    on_trial_result(iteration, trials, trial, result)    replaced: prints, and keeps the trial for ever
    on_trial_error(iteration, trials, trial)             replaced likewise
    on_trial_complete(iteration, trials, trial)          replaced likewise
ray.tune.trainable.trainable.Trainable
    reset(new_config, storage)     ray_trainable.py overrides it: a worker refuses while its last training goes on
    _setup_logdir()                workloads/function.py overrides it: outside a Tuner it makes a folder in the home
    _logdir: NoneType              workloads/function.py sets it instead
ray.tune.registry
    _global_registry: _Registry    asks the cluster's store for a trainable five times a trial
ray.tune.registry._Registry
    contains(category, key)        replaced: whether a name is known
    get(category, key)             replaced: what it stands for
ray._private.worker
    _global_node: Node             what this process runs of the cluster
ray._private.node.Node
    head: bool                     whether that is its head, so that this process has started the cluster
ray.util.client.ray
    is_connected()                 whether this process is a client of a cluster, and runs nothing of it
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
import ray.tune.registry
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback


@contextmanager
def asked_once() -> Iterator[None]:
    """Let Tune ask the cluster's store for a trainable once: it stays what it is while a Tuner runs."""
    registry = ray.tune.registry._global_registry
    registry.get, registry.contains = functools.cache(registry.get), functools.cache(registry.contains)
    try:
        yield
    finally:
        del registry.contains, registry.get


def started_here() -> bool:
    """Return whether this process has started the cluster that it is connected to."""
    return bool(getattr(ray._private.worker._global_node, "head", False))


def is_client() -> bool:
    """Return whether this process is connected by Ray Client, through a server on the cluster."""
    return bool(ray.util.client.ray.is_connected())


def worker_of(trial: Trial) -> Any:
    """Return the actor that trains a trial, None where none does."""
    return trial.temporary_state.ray_actor


def error_of(trial: Trial) -> str:
    """Return why a trial failed; empty where Tune does not know. `get_error()` looks where it is not yet."""
    try:
        return Path(trial.error_file).read_text().partition("\n")[2].strip()
    except (TypeError, OSError):
        return ""


def drop_results(trial: Trial, keys: Iterable[str]) -> None:
    """Let Tune forget what a trial reported under these keys: it would keep the last result for ever."""
    for key in keys:
        trial.last_result.pop(key, None)


def stop_trial(tune_controller: Any, trial: Trial) -> None:
    """End a trial; scheduler and searcher hear that it is complete."""
    tune_controller.stop_trial(trial)


def stop_experiment(tune_controller: Any) -> None:
    """End the Tuner at its next step."""
    tune_controller.request_stop_experiment()


def keep_free_workers(tune_controller: Any, trial: Trial, n: int) -> None:
    """Let `n` workers more that could train `trial` stay free: Tune would end all but one."""
    tune_controller._actor_cache.increase_max(trial.placement_group_factory, by=n)


def n_free_workers(tune_controller: Any) -> int:
    """Return how many workers train nothing."""
    return int(tune_controller._actor_cache.num_cached_objects)


def running(tune_controller: Any) -> set[Trial]:
    """Return the trials that a worker trains."""
    return set(tune_controller._running_trials)


def handed_over(tune_controller: Any) -> set[Trial]:
    """Return the trials whose worker, another trial's before, has not answered yet whether it takes them."""
    return set(tune_controller._resetting_trials)


def pending(tune_controller: Any) -> set[Trial]:
    """Return the trials that a free worker could be handed to."""
    return set(tune_controller._pending_trials - tune_controller._resetting_trials)


def has_slot(tune_controller: Any, trial: Trial) -> bool:
    """Return whether a worker starts for a trial, or is there."""
    worker = tune_controller._trial_to_actor.get(trial)
    return worker is not None and bool(tune_controller._actor_manager.is_actor_started(worker))


def hand_on_nothing(tune_controller: Any) -> None:
    """Keep the controller from giving a free worker to a trial that it picks itself."""
    for group in tune_controller._resources_to_pending_trials.values():
        group.clear()


def hand_on(tune_controller: Any, trial: Trial) -> None:
    """Give a free worker to a pending trial; one that starts for it is ended."""
    if trial in tune_controller._staged_trials:
        tune_controller._maybe_reuse_cached_actor(trial)
    else:  # as the controller does with a trial that its scheduler chose
        tune_controller._staged_trials.add(trial)
        keep_free_workers(tune_controller, trial, 1)
        tune_controller._schedule_trial_actor(trial)


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
    searcher or scheduler or as a failure of its own, and never free its place among those that start. Such a death is
    taken out of `reasons`, which are why trials failed, by trial id.
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


def forget(tune_controller: Any, trial: Trial) -> bool:
    """Let the controller forget an ended trial, which it would keep for ever; return whether it could already.

    It cannot while the trial's worker is still being looked after.
    """
    if not trial.is_finished() or trial in tune_controller._trial_to_actor:
        return False
    for group in (
        tune_controller._stopped_trials,
        tune_controller._failed_trials,
        tune_controller._live_trials,
        tune_controller._trials_to_cache,
        tune_controller._resetting_trials,
    ):
        group.discard(trial)
    tune_controller._trial_metadata.pop(trial.trial_id, None)
    with suppress(RuntimeError):  # who never began has no folder
        shutil.rmtree(trial.local_path, ignore_errors=True)
    if trial in tune_controller._trials:
        tune_controller._trials.remove(trial)
    return True


def end_workers(tune_controller: Any) -> None:
    """End all workers now: left to itself, a Tuner that Ctrl-C breaks off lets them train on for nobody."""
    with suppress(Exception):  # whatever state it was broken off in; what ended the Tuner is the error to show
        tune_controller._actor_manager.cleanup()


def folder_of(trial: Trial) -> Path:
    """Return the folder that a trial's Tuner keeps in Ray's session on this machine."""
    return Path(trial.local_experiment_path).parent


class NoProgress(TrialProgressCallback):  # type: ignore[misc]
    """Stands in for Tune's own view of its progress, which would print nothing here but keep every trial for ever."""

    def on_trial_result(self, *arguments: Any, **more: Any) -> None:
        """Do nothing."""

    def on_trial_error(self, *arguments: Any, **more: Any) -> None:
        """Do nothing."""

    def on_trial_complete(self, *arguments: Any, **more: Any) -> None:
        """Do nothing."""
