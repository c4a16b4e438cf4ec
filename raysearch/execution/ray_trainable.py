"""What a Ray worker runs: a class Trainable that keeps its process and takes one block of instances after another."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

from ray.tune import Trainable

from raysearch.execution.ray_words import BLOCK, FAILURE, RESULTS, SCREENED
from raysearch.execution.watch import ScreenedOut, Watch
from raysearch.records import Configuration
from raysearch.workloads import Workload

_GRACE_S = 2.0
"""How long a stopped training may take to come to its next report before its process is ended."""


class InstanceStopped(BaseException):
    """Raised inside a training, from its report, to end it. No Exception, so that no workload's handler swallows it."""


class _Training(threading.Thread):
    """One block in a thread of its own, so that the worker stays able to stop it."""

    def __init__(self, workload: Workload, data: Any, config: dict[str, Any], kept: tuple[str, float] | None) -> None:
        super().__init__(daemon=True, name="raysearch-instance")
        block = config[BLOCK]
        parameters = {name: value for name, value in config.items() if name not in (BLOCK, "seed")}
        self.configuration = Configuration(block["id"], parameters)
        self.seeds = tuple(block["seeds"])
        self.workload, self.data = workload, data
        self.stopped, self.ended = threading.Event(), threading.Event()
        self.outcome: dict[str, Any] = {}
        self.report = Watch(dict(block.get("cutoffs", ())), before=self._stop_if_told, checkpoints=kept)

    def run(self) -> None:
        start = time.monotonic()
        try:
            results = self.workload.train(self.configuration, self.seeds, self.report, self.data)
            node = socket.gethostname()
            self.outcome = {RESULTS: [r if r.node else dataclasses.replace(r, node=node) for r in results]}
        except InstanceStopped:
            self.outcome = {}
        except ScreenedOut as out:
            seconds = time.monotonic() - start
            self.outcome = {SCREENED: (out.curve, out.cutoff, seconds, socket.gethostname())}
        except BaseException:
            self.outcome = {FAILURE: traceback.format_exc()}
        self.ended.set()

    def _stop_if_told(self, epoch: int, loss: float) -> None:
        if self.stopped.is_set():
            raise InstanceStopped


class RaceTrainable(Trainable):  # type: ignore[misc]
    """Trains the block that its config names; `step` returns at least every `heartbeat_s`, so that a stop is heard."""

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
        """Return whether the process takes the next block; it must be ended where the old one still trains.

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
        """Take the next block."""
        self._begin(new_config)
        return True

    def end_training(self) -> None:
        """Tell the block to end at its next report; the driver calls this as soon as nobody waits for it."""
        self._training.stopped.set()

    def step(self) -> dict[str, Any]:
        """Train until the block has ended or the heartbeat is due; raises TimeoutError past the block's time limit."""
        if not self._training.is_alive() and not self._training.ended.is_set():
            self._training.start()
            self._since = time.monotonic()
        if self._training.ended.wait(self._heartbeat_s):
            return {"done": True, **self._training.outcome}
        if self._timeout_s is not None and time.monotonic() - self._since > self._timeout_s * len(self._training.seeds):
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
    """Remove a block's working directory, of which Tune would keep one per trial, unless its training wrote there."""
    with suppress(OSError):
        os.rmdir(folder)
