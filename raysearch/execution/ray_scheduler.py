"""Ray Tune's view of a race, telling side: results go to `Race.tell`, eliminated configurations' trials are stopped."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from raysearch.execution.ray_searcher import RaceSearcher
from raysearch.records import InstanceResult, Train

RESULTS = "raysearch_results"
"""Key under which raysearch's own trainable reports its list of InstanceResult when a block has ended."""
FAILURE = "raysearch_failure"
"""Key under which it reports the traceback of a block that raised."""


class RaceScheduler(TrialScheduler):  # type: ignore[misc]
    """Carries out the meta-algorithm on Tune's trials; shares one race with the RaceSearcher.

    In a user's own Tuner a trial's last reported `metric` is its loss, and what it reported before is its curve.
    """

    def __init__(self, searcher: RaceSearcher) -> None:
        self.searcher, self.conductor = searcher, searcher.conductor
        self._running: dict[str, Trial] = {}
        self._curves: dict[str, list[float]] = {}
        self._stopping: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing of the race: Tune pickles a Tuner for a restore that raysearch does from its journal."""
        return {"_metric": None}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept Tune's metric; the searcher keeps it."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Remember a trial, to be stopped if its configuration is eliminated."""
        self._running[trial.trial_id] = trial

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Note an epoch of a user's trainable; stop a trial that nobody waits for."""
        block = self.searcher.blocks.get(trial.trial_id)
        if block is None or self._superfluous(block):
            self._stopping.add(trial.trial_id)
            return str(TrialScheduler.STOP)
        if self.searcher.metric in result:
            self._curves.setdefault(trial.trial_id, []).append(float(result[self.searcher.metric]))
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Tell the race what a trial brought, then stop the trials that are superfluous now."""
        self._running.pop(trial.trial_id, None)
        curve = self._curves.pop(trial.trial_id, [])
        if trial.trial_id in self._stopping:  # the searcher hears it next and notes the stop
            self._stopping.discard(trial.trial_id)
            return
        block = self.searcher.blocks.pop(trial.trial_id, None)
        if block is None:
            return
        for key in RESULTS, FAILURE:  # Tune keeps the last result for ever, weights included, if it is not taken out
            trial.last_result.pop(key, None)
        n_decisions = self.conductor.n_decisions
        self._tell(block, result, curve)
        if self.conductor.n_decisions > n_decisions:
            self._stop_superfluous(tune_controller)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Keep the error's text for the searcher, which alone hears whether Tune gives the trial up."""
        self._running.pop(trial.trial_id, None)
        self._curves.pop(trial.trial_id, None)
        self.searcher.errors[trial.trial_id] = str(trial.get_error() or "the worker died without a word")

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Forget a trial that never ran."""
        self._running.pop(trial.trial_id, None)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Leave the start of pending trials to the controller, which keeps them in the order of the race."""
        return None

    def debug_string(self) -> str:
        """Return one line for Tune's status display."""
        progress = self.conductor.progress()
        return f"raysearch: round {progress.round}, {progress.n_survivors} configurations left"

    def _tell(self, block: Train, result: dict[str, Any], curve: list[float]) -> None:
        if FAILURE in result:
            for key in block.keys:
                self.conductor.fail(key, result[FAILURE], result.get("hostname", ""))
        elif RESULTS in result:
            for instance in result[RESULTS]:
                self.conductor.tell(instance)
        elif self.searcher.metric in result:
            loss = float(result[self.searcher.metric])
            whole = (*curve, loss)[: int(result.get("training_iteration", len(curve) + 1))]
            seconds, node = float(result.get("time_total_s", 0.0)), str(result.get("hostname", ""))
            self.conductor.tell(InstanceResult.of(block.keys[0], loss, curve=whole, seconds=seconds, node=node))
        else:
            self.conductor.fail(
                block.keys[0],
                f"the trial ended without reporting {self.searcher.metric!r}; it reported: {', '.join(sorted(result))}",
            )

    def _superfluous(self, block: Train) -> bool:
        return all(self.conductor.superfluous(key) for key in block.keys)

    def _stop_superfluous(self, tune_controller: Any) -> None:
        for trial_id, trial in list(self._running.items()):
            block = self.searcher.blocks.get(trial_id)
            if block is not None and trial_id not in self._stopping and self._superfluous(block):
                self._stopping.add(trial_id)
                tune_controller.stop_trial(trial)
