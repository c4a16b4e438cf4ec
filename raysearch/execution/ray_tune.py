"""Executor `ray_tune`: searcher, scheduler and trainable in one Tuner, with settings for many short trials."""

from __future__ import annotations

import io
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from raysearch.errors import ExperimentError, ResourceError
from raysearch.execution.packing import Packer, Width
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.ray_settings import lean_settings
from raysearch.records import InstanceKey
from raysearch.registry import Validated
from raysearch.tracking import Tracker
from raysearch.workloads import Workload

_JOINING_S = 10.0


@dataclass(frozen=True)
class RayTune(Validated):
    """Trains instances in parallel on a Ray cluster.

    Args:
        cpus: CPUs per trial, above 0 unless `gpus` is; may be a fraction.
        gpus: GPUs per trial; 0.25 puts four trials on one GPU.
        address: a running cluster ("auto", "host:6379", "ray://..."), or "local" to start one on this machine. None
            takes the one at RAY_ADDRESS, which Ray sets in its jobs, and starts one where that is not set.
        local_cpus: CPUs of the cluster started here; None takes all.
        timeout_s: time limit for one instance in seconds; None sets none.
        heartbeat_s: how often a worker looks whether it should stop, in seconds.
        checkpoints: a folder that driver and workers see (shared storage), where instances of workloads that can (those
            of the torch loop) keep their state, to go on from it if they are cut off; None keeps nothing.
        checkpoint_every_s: least time between two writes of one instance, in seconds.
        pack: so many instances share a trial and train together, for workloads that can: batched kernels, one round
            trip, the same losses; 1 packs none, `auto` as many as pay, by what a worker measures of each architecture.
        autoscaling: the cluster may grow to what is asked for, so missing resources are waited for.
    """

    cpus: Annotated[float, Ge(0)] = 1.0
    gpus: Annotated[float, Ge(0)] = 0.0
    address: str | None = None
    local_cpus: Annotated[int, Ge(1)] | None = None
    timeout_s: Annotated[float, Gt(0)] | None = None
    heartbeat_s: Annotated[float, Gt(0)] = 1.0
    checkpoints: str | None = None
    checkpoint_every_s: Annotated[float, Gt(0)] = 30.0
    autoscaling: bool = False
    pack: Width = 1

    def __post_init__(self) -> None:
        """Refuse resources that no machine can give."""
        super().__post_init__()
        if self.cpus + self.gpus == 0:
            raise ValueError("cpus and gpus must not both be 0")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"above 1, gpus must be a whole number, got {self.gpus}")

    def check(self, workload: Workload | None = None) -> None:
        """Connect to the cluster, or start one; raises ResourceError if it cannot hold even one trial.

        Raises ExperimentError for a workload that cannot be sent to workers.
        """
        from raysearch.execution.ray_cluster import connect

        if workload is not None:
            self._check_sendable(workload)
        connect(self.address, self.local_cpus)
        has = self._resources()
        for name, wanted, remedy in (
            ("CPU", self.cpus, "lower `cpus`"),
            ("GPU", self.gpus, "set `gpus: 0`, or join a cluster that has GPUs by `--address`"),
        ):
            if wanted > has.get(name, 0) and not self.autoscaling:
                raise ResourceError(
                    f"a trial asks for {wanted:g} {name}, the cluster has {has.get(name, 0):g} in all: {remedy} "
                    "(or set `autoscaling: true` if it grows on demand)"
                )

    def run(self, runner: RaceRunner, workload: Workload) -> None:
        """Carry the race out by one Tuner; raises WorkloadError where failures are to end the search."""
        import ray
        from ray import tune

        from raysearch.execution.ray_scheduler import RaceScheduler
        from raysearch.execution.ray_searcher import RaceSearcher
        from raysearch.execution.ray_tune_internals import NoProgress, asked_once

        self.check()
        n_slots = self._n_slots(ray.cluster_resources())
        runner.begin(n_slots, Packer.of(workload, self.pack, n_slots))
        searcher = RaceSearcher(runner)
        runner.on_given_up = self._drop_checkpoint
        trainable = self._trainable(workload, runner.n_slots)
        scheduler = RaceScheduler(searcher, timeout_s=self.timeout_s, forget=True)
        with (
            lean_settings(runner.n_slots),
            tempfile.TemporaryDirectory(prefix="raysearch-tune-", ignore_cleanup_errors=True) as storage,
            scheduler.cleaning_up(),
            asked_once(),
        ):
            tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=scheduler,
                    num_samples=-1,
                    reuse_actors=True,
                    trial_dirname_creator=lambda trial: str(trial.trial_id),
                    trial_name_creator=lambda trial: str(trial.trial_id),
                ),
                run_config=tune.RunConfig(
                    name=Path(storage).name,
                    storage_path=storage,
                    verbose=0,
                    callbacks=[NoProgress()],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=0),  # retries are the race's: journaled, counted
                ),
            ).fit()
        for key in runner.given_up:  # again, now that no worker can write any more
            self._drop_checkpoint(key)
        if runner.failure is not None:
            raise runner.failure

    def _trainable(self, workload: Workload, n_slots: int) -> Any:
        """Return what workers run, with the resources of a trial."""
        from ray import tune

        from raysearch.execution.ray_trainable import RaceTrainable

        shared = {"workload": workload, "data": workload.prepare(), "timeout_s": self.timeout_s}
        if self.checkpoints is not None:
            shared["checkpoints"] = (str(Path(self.checkpoints).absolute()), self.checkpoint_every_s)
        # a controller event per slot and heartbeat: many slots need a slower one
        shared["heartbeat_s"] = max(self.heartbeat_s, n_slots / 100)
        resources = {"cpu": self.cpus, "gpu": self.gpus}
        return tune.with_resources(tune.with_parameters(RaceTrainable, **shared), resources)

    def gauges(self, tracker: Tracker) -> Tracker:
        """Return a tracker that exports the race's gauges with Ray's own metrics, `tracker`'s backlog among them."""
        from raysearch.execution.ray_metrics import Gauges

        return Gauges(self.cpus, self.gpus, lambda: getattr(tracker, "backlog", 0))

    def _check_sendable(self, workload: Workload) -> None:
        """Raise ExperimentError with what of a workload cannot be pickled, and who holds it."""
        from ray import cloudpickle
        from ray.util import inspect_serializability

        try:
            cloudpickle.dumps(workload)
        except Exception as error:
            _, failures = inspect_serializability(workload, name="workload", print_file=io.StringIO())
            named = sorted(f"{one.path[-1]!r} ({one.obj!r:.80}), held by {one.parent!r:.80}" for one in failures)
            raise ExperimentError(
                f"the workload cannot be sent to Ray's workers: {error}{': ' * bool(named)}{'; '.join(named)}. Make it "
                "inside the training function, once a process if it is costly; or train in this process, with "
                "`execution: local`"
            ) from error

    def _drop_checkpoint(self, key: InstanceKey) -> None:
        """Delete what an instance kept that will not go on; see training_checkpoints for the files' names."""
        if self.checkpoints is not None:
            with suppress(OSError):
                folder = Path(self.checkpoints, key.configuration_id)
                for path in (*folder.glob(f"{key.seed}.*"), *folder.glob(f".{key.seed}.*")):
                    path.unlink(missing_ok=True)

    def _resources(self) -> dict[str, float]:
        """Return what the cluster has; machines of a cluster that was joined may still be on their way."""
        import ray

        from raysearch.execution.ray_cluster import named

        end = time.monotonic() + (_JOINING_S if named(self.address) is not None and not self.autoscaling else 0.0)
        while True:
            has: dict[str, float] = ray.cluster_resources()
            enough = has.get("CPU", 0) >= self.cpus and has.get("GPU", 0) >= self.gpus
            if enough or time.monotonic() >= end:
                return has
            time.sleep(0.5)

    def _n_slots(self, has: dict[str, float]) -> int:
        by_cpu = has.get("CPU", 0) / self.cpus if self.cpus else float("inf")
        by_gpu = has.get("GPU", 0) / self.gpus if self.gpus else float("inf")
        return max(int(min(by_cpu, by_gpu)), 1)
