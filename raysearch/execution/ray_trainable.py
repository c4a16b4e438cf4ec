"""What a Ray worker runs: a class Trainable that keeps its process and takes one pack of instances after another."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ray.tune import Trainable

from raysearch.execution.ray_words import FAILURE, GAIN, PACK, RESULTS, SCREENED
from raysearch.execution.together import Member, measured_gain, train
from raysearch.execution.watch import Watch
from raysearch.records import Configuration, InstanceKey
from raysearch.workloads import Workload

_GRACE_S = 2.0
"""How long a stopped training may take to come to its next report before its process is ended."""


class InstanceStopped(BaseException):
    """Raised inside a training, from its report, to end it. No Exception, so that no workload's handler swallows it."""


class _Training(threading.Thread):
    """One pack in a thread of its own, so that the worker stays able to stop it."""

    def __init__(self, workload: Workload, data: Any, config: dict[str, Any], kept: tuple[str, float] | None) -> None:
        super().__init__(daemon=True, name="raysearch-instance")
        self.members = [self._member(one, kept) for one in config[PACK]["members"]]
        self.measured_s = 0.0
        self.measures = bool(config[PACK].get("measures"))
        self.n_instances = sum(len(member.seeds) for member in self.members)
        self.workload, self.data = workload, data
        self.stopped, self.ended = threading.Event(), threading.Event()
        self.stopped_members: set[InstanceKey] = set()
        self.outcome: dict[str, Any] = {}

    def run(self) -> None:
        try:
            since = time.monotonic()
            gain = measured_gain(self.workload, self.members[0], self.data) if self.measures else None
            self.measured_s = time.monotonic() - since  # no instance's time
            outcome = train(self.workload, self.members, self.data, self.stopped_members.__contains__)
            node = socket.gethostname()
            results = [one if one.node else dataclasses.replace(one, node=node) for one in outcome.results]
            self.outcome = {RESULTS: results, SCREENED: outcome.screened, GAIN: gain}
        except InstanceStopped:
            self.outcome = {}
        except BaseException:
            self.outcome = {FAILURE: traceback.format_exc()}
        self.ended.set()

    def _member(self, one: dict[str, Any], kept: tuple[str, float] | None) -> Member:
        watch = Watch(dict(one["cutoffs"]), before=self._stop_if_told, checkpoints=kept)
        return Member(Configuration(one["id"], one["parameters"]), tuple(one["seeds"]), watch)

    def _stop_if_told(self, epoch: int, loss: float) -> None:
        if self.stopped.is_set():
            raise InstanceStopped


class RaceTrainable(Trainable):  # type: ignore[misc]
    """Trains the pack that its config names; `step` returns at least every `heartbeat_s`, so that a stop is heard."""

    def setup(
        self,
        config: dict[str, Any],
        workload: Workload | None = None,
        data: Any = None,
        heartbeat_s: float = 1.0,
        timeout_s: float | None = None,
        checkpoints: tuple[str, float] | None = None,
    ) -> None:
        """Take the workload and the shared data, once per process."""
        self._workload, self._data, self._heartbeat_s, self._timeout_s = workload, data, heartbeat_s, timeout_s
        self._checkpoints = checkpoints
        self._begin(config)

    def reset(self, new_config: dict[str, Any], storage: Any = None) -> bool:
        """Return whether the process takes the next pack; it must be ended where the old one still trains.

        Two trainings in one process would draw from the same global generators: both losses would be wrong.
        """
        self.end_training()
        if self._training.is_alive():  # one that never began has no end to wait for
            self._training.join(_GRACE_S)
        if self._training.is_alive():
            return False
        folder = self.logdir
        taken = bool(super().reset(new_config, storage))
        if folder != self.logdir:
            _remove_if_empty(folder)
        return taken

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack."""
        self._begin(new_config)
        return True

    def end_training(self, members: Sequence[InstanceKey] = ()) -> None:
        """Tell the pack, or `members` of it, to end at the next report; the driver calls it once nobody waits."""
        self._training.stopped_members.update(members)
        if not members:
            self._training.stopped.set()

    def step(self) -> dict[str, Any]:
        """Train until the pack has ended or the heartbeat is due; raises TimeoutError past the pack's time limit."""
        if not self._training.is_alive() and not self._training.ended.is_set():
            self._training.start()
            self._since = time.monotonic()
        if self._training.ended.wait(self._heartbeat_s):
            return {"done": True, **self._training.outcome}
        if (
            self._timeout_s is not None
            and time.monotonic() - self._since - self._training.measured_s
            > self._timeout_s * self._training.n_instances
        ):
            self.end_training()
            raise TimeoutError(f"no end after {self._timeout_s} s per instance (timeout_s of the execution section)")
        return {"done": False}

    def cleanup(self) -> None:
        """Tell a training that still runs to end: Ray ends the process next."""
        self.end_training()
        _remove_if_empty(self.logdir)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: a lost instance is trained again, by workloads that can from its own checkpoint."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing: Tune keeps none."""

    def _begin(self, config: dict[str, Any]) -> None:
        if self._workload is None:
            raise ValueError("RaceTrainable needs a workload: tune.with_parameters(RaceTrainable, workload=...)")
        self._training = _Training(self._workload, self._data, config, self._checkpoints)


def _remove_if_empty(folder: str) -> None:
    """Remove a pack's working directory, of which Tune would keep one per trial, unless its training wrote there."""
    with suppress(OSError):
        os.rmdir(folder)
