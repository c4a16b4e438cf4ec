"""Ray Tune in a world: the real searcher and scheduler, called as a TuneController calls them, without any cluster.

In which orders it calls them was recorded from real ones (tests/record_ray_orders.py); here they come permuted, and
with faults: a worker that dies, or is killed for its memory, a node that goes, calls that come twice or too late.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import Any

from ray.exceptions import OutOfMemoryError
from ray.tune.search import Searcher

from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.ray_scheduler import RaceScheduler
from raysearch.execution.ray_searcher import RaceSearcher
from raysearch.execution.ray_words import FAILURE, RESULTS, SCREENED

from .books import hold
from .workers import Workers, results_of

PENDING, RUNNING, ENDED = "PENDING", "RUNNING", "ENDED"
AHEAD = 2
"""Trials that wait for a worker, as `lean_settings` allows."""


class Trial:
    """What searcher and scheduler see of a trial."""

    local_path = local_experiment_path = "/nonexistent/world/tune"
    placement_group_factory = error_file = None

    def __init__(self, id_: str) -> None:
        self.trial_id, self.status = id_, PENDING
        self.temporary_state = SimpleNamespace(ray_actor=None)
        self.last_result: dict[str, Any] = {}
        self.told_to_end = False
        self.calls: list[str] = []

    def is_finished(self) -> bool:
        return self.status == ENDED

    def begin(self) -> None:
        """Give it a worker."""
        self.status = RUNNING
        self.temporary_state.ray_actor = SimpleNamespace(end_training=SimpleNamespace(remote=self._hear))

    def _hear(self, members: Any) -> None:
        self.told_to_end |= not members


class Controller:
    """Those parts of a TuneController that raysearch touches, and what it does with a trial."""

    def __init__(self, searcher: RaceSearcher, scheduler: RaceScheduler) -> None:
        self.searcher, self.scheduler = searcher, scheduler
        self.trials: dict[str, Trial] = {}
        self.stops = False
        self._actor_cache = SimpleNamespace(increase_max=lambda key, by: None, num_cached_objects=0)
        self._actor_manager = SimpleNamespace(schedule_actor_task=None, _actor_task_failed=self._task_failed)
        self._resources_to_pending_trials: Any = defaultdict(set)
        self._actor_to_trial: dict[Any, Trial] = {}
        self._trial_to_actor: dict[Trial, Any] = {}
        self._trial_metadata: dict[str, Any] = {}
        self._trials: list[Trial] = []
        self._pending_trials: set[Trial] = set()
        for name in ("running", "resetting", "staged", "stopped", "failed", "live"):
            setattr(self, f"_{name}_trials", set())
        self._trials_to_cache: set[Trial] = set()
        self.orders: Counter[tuple[str, ...]] = Counter()

    def suggest(self) -> Any:
        """Ask for another trial, as Tune's search generator does."""
        id_ = f"{len(self.trials):05d}"
        config = self.searcher.suggest(id_)
        if isinstance(config, dict):
            trial = self.trials[id_] = Trial(id_)
            self._call(trial, "suggest")
            self._call(trial, "add", self.scheduler.on_trial_add, self, trial)
        return config

    def in_status(self, status: str) -> list[Trial]:
        return [trial for trial in self.trials.values() if trial.status == status]

    def report(self, trial: Trial, result: dict[str, Any]) -> None:
        """Take in what a worker reported."""
        decision = "STOP"
        if not result.get("done"):
            decision = self._call(trial, "result", self.scheduler.on_trial_result, self, trial, dict(result))
            if decision != "STOP":
                self.searcher.on_trial_result(trial.trial_id, dict(result))
        trial.last_result = dict(result)
        if decision == "STOP":
            self.stop_trial(trial)

    def stop_trial(self, trial: Trial) -> None:
        """End a trial, as Tune does."""
        if trial.status == ENDED:
            return
        if trial.status == PENDING:
            self._call(trial, "remove", self.scheduler.on_trial_remove, self, trial)
        else:
            self._call(trial, "complete", self.scheduler.on_trial_complete, self, trial, dict(trial.last_result))
        self._call(trial, "completed", self.searcher.on_trial_complete, trial.trial_id, dict(trial.last_result))
        self._end(trial)

    def fail(self, trial: Trial) -> None:
        """Take in the death of a worker."""
        self._call(trial, "error", self.scheduler.on_trial_error, self, trial)
        self._call(trial, "failed", self.searcher.on_trial_complete, trial.trial_id, None, error=True)
        self._end(trial)

    def kill_for_memory(self, trial: Trial) -> None:
        """Let Ray's memory monitor kill a worker."""
        worker = object()
        self._actor_to_trial[worker] = trial
        task = SimpleNamespace(_tracked_actor=worker)
        self._actor_manager._actor_task_failed(task, OutOfMemoryError("killed"))

    def request_stop_experiment(self) -> None:
        self.stops = True

    def _task_failed(self, task: Any, exception: Exception) -> None:
        hold(not isinstance(exception, OutOfMemoryError), "a memory kill counts as a death")
        self.fail(self._actor_to_trial[task._tracked_actor])

    def _call(self, trial: Trial, name: str, call: Any = None, *arguments: Any, **more: Any) -> Any:
        if name != "result" or trial.calls[-1:] != ["result"]:
            trial.calls.append(name)
        return None if call is None else call(*arguments, **more)

    def _end(self, trial: Trial) -> None:
        trial.status, trial.temporary_state.ray_actor = ENDED, None
        self.orders[tuple(trial.calls)] += 1


class TuneWorkers(Workers):
    """A Tuner that carries the race of one driver out."""

    def execute(self, runner: RaceRunner) -> None:
        """Train what the race asks for until Tune's searcher says that it is over."""
        n_slots = self.setting.n_workers
        runner.begin(n_slots, self.setting.packer)
        searcher = RaceSearcher(runner)
        controller = Controller(searcher, RaceScheduler(searcher, forget=True))
        finished = False
        for _ in range(self.most_steps):
            self.world.between(runner)
            controller.scheduler.choose_trial_to_run(controller)
            if controller.stops:
                assert runner.failure is not None
                raise runner.failure
            live = len(controller.in_status(PENDING)) + len(controller.in_status(RUNNING))
            if finished and not live:
                hold(not searcher.packs, "nothing is forgotten", searcher.packs)
                self.world.orders += controller.orders
                return
            if not finished and live < n_slots + AHEAD and self.g.random() < 0.7:
                answer = controller.suggest()
                finished = answer == Searcher.FINISHED
                hold(answer is not None or live > 0, "nobody waits where nothing runs")
            if live:
                self._happen(runner, controller, n_slots)
        hold(False, "no hang", self.most_steps)

    def _happen(self, runner: RaceRunner, controller: Controller, n_slots: int) -> None:
        """Let one thing happen to one trial."""
        g = self.g
        self.world.clock.now += g.choice((0.0, 0.1, 2.0)) * self.setting.pace
        pending, running = controller.in_status(PENDING), controller.in_status(RUNNING)
        if pending and len(running) < n_slots and (not running or g.random() < 0.5):
            g.choice(pending).begin()
            return
        trial = g.choice(running)
        pack = controller.searcher.packs.get(trial.trial_id)
        if g.random() < self.setting.faults.late:
            self._come_late(controller)
        if trial.status == ENDED or g.random() < 0.3 or pack is None:
            if trial.status != ENDED:
                controller.report(trial, {"done": False})
            return
        if trial.told_to_end:
            controller.report(trial, {"done": True, **({} if g.random() < 0.5 else self._brought(runner, pack))})
        elif any(self.setting.fails(key, runner.race.state.attempts[key] + 1) for key in pack.keys):
            controller.report(trial, {"done": True, FAILURE: "it raised"})
        elif g.random() < self.setting.faults.crash and self._may_crash(runner, pack):
            g.choice((controller.fail, controller.kill_for_memory))(trial)
        else:
            controller.report(trial, {"done": True, **self._brought(runner, pack)})

    def _brought(self, runner: RaceRunner, pack: Any) -> dict[str, Any]:
        left, screened = results_of(self.setting, runner.race, pack)
        return {RESULTS: left, SCREENED: screened}

    def _come_late(self, controller: Controller) -> None:
        """Call once more for a trial that has ended: Tune drops such calls, but for those that are under way."""
        ended = controller.in_status(ENDED)
        if not ended:
            return
        trial = self.g.choice(ended)
        late = self.g.randrange(4)
        if late == 0:
            controller.scheduler.on_trial_result(controller, trial, {"done": False})
        elif late == 1:
            controller.scheduler.on_trial_complete(controller, trial, {"done": True, RESULTS: []})
        elif late == 2:
            controller.searcher.on_trial_complete(trial.trial_id, {})
        else:
            controller.scheduler.on_trial_error(controller, trial)
            controller.searcher.on_trial_complete(trial.trial_id, None, error=True)
