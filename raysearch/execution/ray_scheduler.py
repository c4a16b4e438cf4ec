"""Ray Tune's view of a race, telling side: results go to `Race.tell`, eliminated configurations' trials are stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from raysearch.execution import ray_tune_internals as internals
from raysearch.execution.hopeless import Starts
from raysearch.execution.packing import Pack
from raysearch.execution.ray_controller import (
    Watchdog,
    forget_ended,
    hand_on_free_workers,
    remove_folders,
    tell_to_end,
)
from raysearch.execution.ray_searcher import RaceSearcher
from raysearch.execution.ray_words import FAILURE, GAIN, RESULTS, SCREENED, UNBORN
from raysearch.records import InstanceKey, InstanceResult


class RaceScheduler(TrialScheduler):  # type: ignore[misc]
    """Carries out the meta-algorithm on Tune's trials; shares one race with the RaceSearcher.

    In a user's own Tuner a trial's last reported `metric` is its loss, and what it reported before is its curve.

    Args:
        searcher: the other half.
        timeout_s: time limit for one instance in seconds; a worker that is silent for longer is ended. None sets none.
        forget: all trials are raysearch's own: let Tune forget those that have ended, so that it does not grow, with an
            empty ResultGrid; and end the search where no worker can start.
    """

    def __init__(self, searcher: RaceSearcher, *, timeout_s: float | None = None, forget: bool = False) -> None:
        self.searcher, self.runner = searcher, searcher.runner
        self._running: dict[str, Trial] = {}
        self._added: dict[str, float] = {}
        self._curves: dict[str, list[float]] = {}
        self._stopping: set[str] = set()
        self._controller: Any = None
        self._folder: Path | None = None
        self._watchdog = Watchdog(timeout_s, self.runner.clock)
        self._starts = Starts(self.runner.race)
        self._forget = forget
        self._ended: list[Trial] = []
        self.runner.count_running = self._count_running
        self.runner.on_stopped = searcher.stopped.extend

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing of the race: Tune pickles a Tuner for a restore that raysearch does from its journal."""
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept Tune's metric; the searcher keeps it."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Remember a trial, to be stopped if its configuration is eliminated."""
        self._running[trial.trial_id] = trial
        self._added[trial.trial_id] = self.runner.clock.monotonic()
        if self._controller is None:
            # Tune ends all idle workers but one: a race that waits for a decision would start them anew each round
            internals.keep_free_workers(tune_controller, trial, self.runner.n_slots)
            self._controller, self._folder = tune_controller, internals.folder_of(trial)
            internals.take_memory_kills_as_deaths(tune_controller, self._watchdog.ended)
            internals.replace_workers(tune_controller, self._watchdog.ended)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Note an epoch of a user's trainable; stop a trial that nobody waits for."""
        self._watchdog.hear(trial)
        self._starts.came_up()
        pack = self.searcher.packs.get(trial.trial_id)
        if pack is None or not self._awaited(pack):
            self._stopping.add(trial.trial_id)
            tell_to_end(trial)
            return str(TrialScheduler.STOP)
        if self.searcher.metric in result:
            self._curves.setdefault(trial.trial_id, []).append(float(result[self.searcher.metric]))
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Tell the race what a trial brought, then end the trials that are obsolete now."""
        self._starts.came_up()
        self._let_go(trial)
        curve = self._curves.pop(trial.trial_id, [])
        if trial.trial_id in self._stopping:  # the searcher hears it next and notes the stop
            self._stopping.discard(trial.trial_id)
            return
        pack = self.searcher.packs.pop(trial.trial_id, None)
        if pack is None:
            return
        internals.drop_results(trial, (RESULTS, SCREENED, FAILURE))
        stopped: list[InstanceKey] = []
        with self.searcher.noting_failure():
            stopped = self._tell(pack, result, curve)
        if stopped:
            self._end_obsolete(tune_controller)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Keep the error's text for the searcher, which alone hears whether Tune gives the trial up."""
        self._let_go(trial)
        self._curves.pop(trial.trial_id, None)
        why = self._watchdog.ended.pop(trial.trial_id, None)
        error = internals.error_of(trial)
        self.searcher.errors[trial.trial_id] = why or error or "the worker died without a word"
        if UNBORN in error and self._forget:  # a user's own trainable may refuse one configuration in its `setup`
            self.runner.failure = self.runner.failure or self._starts.failed(error)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Forget a trial that never ran."""
        self._let_go(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Look after the workers, as this is called at every step; the start of trials is left to the controller."""
        self._look_after(tune_controller)
        hand_on_free_workers(tune_controller, self._added, self.runner.clock)
        return None

    def debug_string(self) -> str:
        """Return one line for Tune's status display."""
        progress = self.runner.progress()
        return f"raysearch: round {progress.round}, {progress.n_survivors} configurations left"

    @contextmanager
    def cleaning_up(self) -> Iterator[None]:
        """Leave nothing of a Tuner that ends inside, however it ends: neither workers that train nor folders."""
        try:
            yield
        except BaseException:
            if self._controller is not None:
                internals.end_workers(self._controller)
            raise
        finally:
            if self._folder is not None:
                remove_folders(self._folder)

    def _count_running(self) -> int:
        """Return how many instances have a worker; others wait in Tune's queue."""
        on_workers = [id_ for id_, trial in self._running.items() if internals.worker_of(trial) is not None]
        return sum(len(self.searcher.packs[id_].keys) for id_ in on_workers if id_ in self.searcher.packs)

    def _look_after(self, tune_controller: Any) -> None:
        with self.searcher.noting_failure():
            self.runner.look()
            if self.runner.held:
                self._give_back(tune_controller)
        if self.runner.failure is not None:
            internals.stop_experiment(tune_controller)
        if self.searcher.stopped:
            self.searcher.stopped.clear()
            self._end_obsolete(tune_controller)
        self._watchdog.look(tune_controller, {id_: len(pack.keys) for id_, pack in self.searcher.packs.items()})
        if self._ended:
            forget_ended(tune_controller, self._ended)

    def _give_back(self, tune_controller: Any) -> None:
        """Take back the trials that wait in Tune's queue: a person lets nothing begin."""
        for trial in internals.pending(tune_controller):
            pack = self.searcher.packs.pop(trial.trial_id, None)
            if pack is not None:
                self.runner.give_back(pack)
                internals.stop_trial(tune_controller, trial)

    def _let_go(self, trial: Trial) -> None:
        self._running.pop(trial.trial_id, None)
        self._added.pop(trial.trial_id, None)
        self._watchdog.forget(trial)
        if self._forget:
            self._ended.append(trial)

    def _tell(self, pack: Pack, result: dict[str, Any], curve: list[float]) -> list[InstanceKey]:
        """Tell the race what a pack brought; returns the instances that nobody waits for any more."""
        node = str(result.get("hostname", ""))
        if FAILURE in result:
            return self.runner.fail_pack(pack, result[FAILURE], node)
        if RESULTS in result:
            return self.runner.complete(pack, result[RESULTS], node, result.get(SCREENED, ()), result.get(GAIN))
        if self.searcher.metric in result:
            loss = float(result[self.searcher.metric])
            whole = (*curve, loss)[: int(result.get("training_iteration", len(curve) + 1))]
            seconds = float(result.get("time_total_s", 0.0))
            own = InstanceResult.of(pack.keys[0], loss, curve=whole, seconds=seconds, node=node)
            return self.runner.tell(own)
        reported = ", ".join(sorted(result))
        return self.runner.fail(
            pack.keys[0], f"the trial ended without reporting {self.searcher.metric!r}; it reported: {reported}"
        )

    def _awaited(self, pack: Pack) -> bool:
        return any(map(self.runner.awaited, pack.keys))

    def _end_obsolete(self, tune_controller: Any) -> None:
        for trial_id, trial in list(self._running.items()):
            pack = self.searcher.packs.get(trial_id)
            if pack is None or trial_id in self._stopping:
                continue
            if not self._awaited(pack):
                self._stopping.add(trial_id)
                tell_to_end(trial)
                internals.stop_trial(tune_controller, trial)
            elif left := [key for key in pack.keys if not self.runner.awaited(key)]:
                tell_to_end(trial, left)  # these members only: the others train on
