"""Workloads: what one instance is. A frozen dataclass whose fields are its settings.

Contract: `prepare` runs once in the driver and returns data all instances share (None if there is none; Ray keeps one
copy per node). `train` runs on workers, must call `report(epoch, loss)` after each epoch (that is where a stopped
instance ends: let the exception pass), and returns one result per seed, in order. Same configuration and seed, same
loss. A workload that has hyperparameters of its own checks them in `check`, before anything trains.

Two optional methods let the winner be used elsewhere: `predict(parameters, weights, inputs) -> outputs` (arrays;
weights as safetensors bytes) and `example(data) -> inputs`, a few rows. A third lets instances be measured:
`instrument(parameters, weights, seed, data, examples) -> measures.Subject`, examples `validation` or `test`. Named
constraints on configurations are methods listed in the class variable `constraints`, e.g. `n_parameters(parameters)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from raysearch.records import Configuration, InstanceResult

Report = Callable[[int, float], None]
"""`report(epoch, loss)`: epoch counts from 1; raises to end the instance."""


class Workload(Protocol):
    """Something that can be trained with a configuration and a seed."""

    def prepare(self) -> Any:
        """Return what all instances share, e.g. a dict of arrays."""

    def train(
        self, configuration: Configuration, seeds: Sequence[int], report: Report, data: Any
    ) -> list[InstanceResult]:
        """Train one instance per seed and return their results."""
        ...

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise ExperimentError if these parameters cannot be trained (unknown or missing name, bad value)."""
