"""Ray Tune's view of a race, asking side: `Race.ask` -> a trial's config, None (wait) or FINISHED."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ray.tune.search import Searcher

from raysearch.errors import RaysearchError
from raysearch.execution.packing import Pack
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.ray_words import PACK
from raysearch.records import DONE, InstanceKey, TrialRequest


class RaceSearcher(Searcher):  # type: ignore[misc]
    """Hands out one trial per pack of instances; serves any `tune.Tuner` together with a RaceScheduler.

    A trial's config holds the configuration's parameters, `seed`, and the pack itself under PACK.
    """

    def __init__(self, runner: RaceRunner, metric: str | None = None) -> None:
        self._follow(metric)
        self.runner = runner
        self.packs: dict[str, Pack] = {}
        """Packs that run or wait for a machine, by trial id."""
        self.errors: dict[str, str] = {}
        """What the scheduler heard of a trial's error, by trial id."""
        self.stopped: list[InstanceKey] = []
        """Instances that nobody waits for any more since a worker died, for the scheduler to end."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing of the race: Tune pickles a Tuner for a restore that raysearch does from its journal."""
        return {"pickled": True}  # an empty state would be set without a word

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Refuse: see `restore`."""
        self.restore("")

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Accept Tune's metric; the space is the race's own."""
        if metric and self.metric is None:
            self._follow(metric)
        return True

    def _follow(self, metric: str | None) -> None:
        super().__init__(metric=metric, mode="min" if metric else None)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of the next trial, None while the race waits, or FINISHED."""
        answer: object = DONE
        if self.runner.failure is None:
            with self.noting_failure():
                answer = self.runner.ask_pack()
        if answer is DONE:
            return str(Searcher.FINISHED)
        if not isinstance(answer, Pack):
            return None
        self.packs[trial_id] = answer
        first, *others = answer.requests
        members = [_plain(request) for request in (first, *others)]
        asked = {"members": members, "measures": answer.measures is not None}
        # a user's own trainable finds the parameters of its configuration
        return {**({} if others else first.configuration.parameters), "seed": first.seeds[0], PACK: asked}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Let the views follow: long instances end rarely, but their workers report at every heartbeat."""
        with self.noting_failure():
            self.runner.look()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note a trial whose process died for good, or that was removed before it ran; results go to the scheduler."""
        pack = self.packs.pop(trial_id, None)
        if pack is None:
            return
        why = self.errors.pop(trial_id, "the worker died without a word")
        with self.noting_failure():
            if error:
                self.stopped += self.runner.fail_pack(pack, why)
                return
            self.runner.give_up(pack)

    @contextlib.contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Keep an error that ends the search, such as a full disk: Tune would wrap it, or go on without an instance."""
        try:
            yield
        except RaysearchError as error:
            self.runner.failure = self.runner.failure or error

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal is the only thing a race is restored from."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: use `raysearch resume`."""
        raise NotImplementedError("a race is restored from its journal: use `raysearch resume RUN_DIR`")


def _plain(request: TrialRequest) -> dict[str, Any]:
    """Return a request as plain data, for a trial's config."""
    own = request.configuration
    plain = {"id": own.id, "parameters": dict(own.parameters), "seeds": list(request.seeds)}
    return {**plain, "phase": request.phase.value, "cutoffs": list(request.cutoffs.items())}
