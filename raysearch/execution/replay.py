"""Executor `replay`: answers from recorded losses, with simulated workers and a simulated clock.

It judges a rule in seconds: how many instances it needs, how long a cluster would take, how busy its workers are.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from raysearch.errors import ExperimentError
from raysearch.execution.race_runner import RaceRunner
from raysearch.race.state import State
from raysearch.records import DONE, InstanceKey, InstanceResult, Phase, Signal, TrialRequest
from raysearch.registry import Validated
from raysearch.storage import tables
from raysearch.storage.instances import read_parquet
from raysearch.workloads import Workload

Answer = Callable[[State, InstanceKey], InstanceResult]
"""The recorded result of an instance; its `seconds` are what the simulated clock counts."""


_PATIENCE_S = 0.05
_ANSWERED = ("loss", "test_loss", "seconds", "curve")


@dataclass(frozen=True)
class Simulation:
    """What a simulated cluster did. Times in simulated seconds."""

    n_workers: int
    n_instances: int
    makespan_s: float
    busy_s: float

    @property
    def utilisation(self) -> float:
        """Share of the workers' time spent on instances, from 0 to 1."""
        return self.busy_s / (self.n_workers * self.makespan_s) if self.makespan_s else 1.0


@dataclass(frozen=True)
class Replay(Validated):
    """Replays the instances of an earlier search, e.g. to try other rules on them without training anything.

    Args:
        table: a recorded table by name, or an `instances.parquet`, that holds every (configuration, instance) the race
            will ask for.
        n_workers: simulated slots.
    """

    table: str
    n_workers: Annotated[int, Ge(1)] = 1
    simulations: list[Simulation] = field(default_factory=list, init=False, compare=False, repr=False)
    """What came of each `run`, for those who call it from Python."""

    def check(self, workload: Workload | None = None) -> None:
        """Raise ExperimentError if there is no such table."""
        tables.find(self.table)

    def run(self, runner: RaceRunner, workload: Workload) -> None:
        """Answer what the race asks for; raises ExperimentError for an instance that the table does not hold."""
        self.simulations.append(simulate(runner, recorded(tables.find(self.table)), self.n_workers))


def recorded(path: Path) -> Answer:
    """Return the answers that a table of instances holds, by configuration, phase and number of the instance."""
    table = read_parquet(path)
    rows: dict[tuple[str, str, int], dict[Any, Any]] = {
        (row["configuration_id"], row["phase"], row["instance"]): row
        for row in table[["configuration_id", "phase", "instance", *_ANSWERED]].to_dict("records")
        if not math.isnan(row["loss"])
    }

    def answer(state: State, key: InstanceKey) -> InstanceResult:
        phase, index = state.seeds.index(key.seed)
        row = rows.get((key.configuration_id, phase.value, index))
        if row is None:
            raise ExperimentError(
                f"{path} holds no {phase.value} instance {index} of configuration {key.configuration_id}; it was "
                "recorded from another space or by a rule that asked for fewer instances"
            )
        test_loss = None if math.isnan(row["test_loss"]) else row["test_loss"]
        return InstanceResult.of(
            key, row["loss"], seconds=row["seconds"], test_loss=test_loss, curve=tuple(map(float, row["curve"]))
        )

    return answer


def of_matrix(losses: NDArray[np.float64], seconds: NDArray[np.float64] | float = 1.0) -> Answer:
    """Return the answers of a matrix `(n_configurations, n_instances)`, rows in the order of the pool.

    Confirmation instances are its last columns, from the end.
    """
    durations = np.broadcast_to(np.asarray(seconds, dtype=np.float64), losses.shape)

    def answer(state: State, key: InstanceKey) -> InstanceResult:
        phase, index = state.seeds.index(key.seed)
        cell = state.pool.rows[key.configuration_id], index if phase is Phase.RACE else -1 - index
        return InstanceResult.of(key, float(losses[cell]), seconds=float(durations[cell]))

    return answer


def simulate(runner: RaceRunner, answer: Answer, n_workers: int) -> Simulation:
    """Carry a race out on `n_workers` simulated workers and return how busy they were.

    A block occupies one worker for the sum of its instances' seconds; obsolete blocks end at once.
    """
    runner.begin(n_workers)
    state = runner.race.state
    running: list[tuple[float, int, TrialRequest, float]] = []
    now, busy, n_started = 0.0, 0.0, 0
    while True:
        free = n_workers - len(running)
        answered = runner.ask(free) if free else []
        if runner.failure is not None:
            raise runner.failure
        if answered is DONE and not running:
            return Simulation(n_workers, n_started, now, busy)
        for train in answered if not isinstance(answered, Signal) else ():
            seconds = sum(answer(state, key).seconds for key in train.keys)
            n_started += len(train.keys)
            heapq.heappush(running, (now + seconds, n_started, train, now))
        if runner.held and not running:
            runner.clock.sleep(_PATIENCE_S)
            continue
        now, _, train, since = heapq.heappop(running)
        busy += now - since
        if runner.tell(*(answer(state, key) for key in train.keys)):
            busy += _end_obsolete(runner, running, now)


def _end_obsolete(runner: RaceRunner, running: list[tuple[float, int, TrialRequest, float]], now: float) -> float:
    """End the blocks that nobody waits for any more and return the time spent on them."""
    stale = [entry for entry in running if not any(map(runner.awaited, entry[2].keys))]
    for entry in stale:
        running.remove(entry)
    heapq.heapify(running)
    return sum(now - entry[3] for entry in stale)
