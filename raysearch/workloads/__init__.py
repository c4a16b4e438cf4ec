"""Workloads: what one instance is. A frozen dataclass whose fields are its settings.

Contract: `Workload`. Same configuration and seed, same loss. What else it can do, it shows by having what `HasEpochs`,
`Predicts` or `Measurable` ask for. Named constraints on configurations are methods listed in the class variable
`constraints`, e.g. `n_parameters(parameters)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from raysearch.records import Configuration, InstanceResult
from raysearch.workloads._packs import MeasuresPacks as MeasuresPacks
from raysearch.workloads._packs import TrainsPacks as TrainsPacks

if TYPE_CHECKING:  # torch
    from raysearch.training.measures import EvaluatedModel

Report = Callable[[int, float], None]
"""`report(epoch, loss)`: epoch counts from 1; raises to end the instance."""


@runtime_checkable
class Workload(Protocol):
    """Something that can be trained with a configuration and a seed."""

    def prepare(self) -> Any:
        """Return what all instances share, e.g. a dict of arrays, or None; once in the driver, one copy per node."""

    def train(
        self, configuration: Configuration, seeds: Sequence[int], report: Report, data: Any
    ) -> list[InstanceResult]:
        """Train one instance per seed, on a worker, and return their results in order.

        It must call `report(epoch, loss)` after each epoch: that is where a stopped instance ends, by an exception that
        must pass.
        """
        ...

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise ExperimentError if these parameters cannot be trained (unknown or missing name, bad value)."""


@runtime_checkable
class HasEpochs(Protocol):
    """A workload that knows for how many epochs it trains an instance."""

    @property
    def epochs(self) -> int:
        """Number of epochs, unless a configuration says otherwise."""
        ...


@runtime_checkable
class Predicts(Protocol):
    """A workload whose winner can be used elsewhere."""

    def example(self, data: Any) -> Any:
        """Return a few rows of inputs, an array."""

    def predict(self, parameters: Mapping[str, Any], weights: bytes, inputs: Any) -> Any:
        """Return the outputs of a network, an array; `weights` is a safetensors file."""


@runtime_checkable
class Measurable(Protocol):
    """A workload whose instances can be measured."""

    def load_for_evaluation(
        self, parameters: Mapping[str, Any], weights: bytes, seed: int, data: Any, examples: str
    ) -> EvaluatedModel:
        """Return an instance's network, to be judged by its `validation` or `test` examples."""
        ...
