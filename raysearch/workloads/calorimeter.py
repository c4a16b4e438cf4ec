"""Photon showers in an electromagnetic calorimeter: the energy or the position of the photon from 15 x 15 cells."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from raysearch.errors import ExperimentError
from raysearch.records import Configuration
from raysearch.registry import Validated
from raysearch.training.measures import EvaluatedModel
from raysearch.training.recipe import Device, Recipe, check_names
from raysearch.training.score import check_score
from raysearch.workloads import _packs
from raysearch.workloads._calorimeter.architecture import LAYER_NAMES, Architecture
from raysearch.workloads._calorimeter.showers import simulate
from raysearch.workloads._jobs import TrainsJobs
from raysearch.workloads._sources import Vary, sources

if TYPE_CHECKING:  # torch
    from raysearch.training.job import Common, Job

_TASKS = {"energy": "relative_rmse", "position": "rmse"}


@dataclass(frozen=True)
class Calorimeter(TrainsJobs, Validated):
    """Networks on simulated showers; the loss is RMSE(E)/E, or RMSE(x) in cm, on validation examples.

    The space may name the fields of `Architecture` (conv1, pool1, conv2, pool2, kernel, fc, feature, activation,
    dropout) and of `Recipe` (optimizer, lr, batch_size, weight_decay ...).

    Args:
        target: `energy` or `position`.
        dataset: `A` (uniform 1-100 GeV, normal incidence) or `B` (falling spectrum, inclined).
        n_train: examples in an instance's training sample.
        n_pool: showers from which those samples are drawn, without repetition; None is 4 times `n_train`.
        n_validation: examples that steer the race.
        n_test: examples that steer nothing.
        epochs: passes over the training sample.
        vary: what differs between seeds: `weights`, `sample` or `both`.
        patience: end an instance after so many epochs without a better validation loss, and return to its best epoch;
            None never does.
        score: the loss of an instance: its `last` epoch's, its `best` epoch's (whose weights are kept), or the mean of
            its last epochs, e.g. `mean_last_5`.
        data_seed: of the simulation.
        n_threads: of torch, per instance.
        device: `auto`, `cpu` or `cuda`.

    Source: method and losses of IEEE Access 2025, 10.1109/ACCESS.2025.3578926; the simulation is raysearch's own.
    """

    target: Literal["energy", "position"] = "energy"
    dataset: Literal["A", "B"] = "B"
    n_train: Annotated[int, Ge(1)] = 8000
    n_pool: Annotated[int, Ge(1)] | None = None
    n_validation: Annotated[int, Ge(1)] = 4000
    n_test: Annotated[int, Ge(1)] = 4000
    epochs: Annotated[int, Ge(1)] = 50
    vary: Vary = "both"
    patience: Annotated[int, Ge(1)] | None = None
    score: str = "last"
    data_seed: Annotated[int, Ge(0)] = 0
    n_threads: Annotated[int, Ge(1)] = 1
    device: Device = "auto"

    constraints: ClassVar[tuple[str, ...]] = ("n_parameters",)

    def __post_init__(self) -> None:
        """Refuse a score that these epochs cannot have, and a pool that holds no sample."""
        super().__post_init__()
        check_score(self.score, self.epochs, self.patience)
        if self.n_pool is not None and self.n_pool < self.n_train:
            raise ExperimentError(f"n_pool = {self.n_pool} is smaller than n_train = {self.n_train}")

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise ExperimentError if these parameters cannot be trained."""
        check_names(parameters, [*(item.name for item in fields(Architecture)), *LAYER_NAMES], "calorimeter")
        Architecture.of(parameters)
        Recipe.of(parameters)

    def n_parameters(self, parameters: Mapping[str, Any]) -> int:
        """Return the number of trainable parameters, counted without building the network."""
        return Architecture.of(parameters).n_parameters(self.target)

    def prepare(self) -> dict[str, NDArray[np.float32]]:
        """Return cells `(n, 15, 15)` in GeV and targets `(n,)` (GeV or cm) of the sets pool, validation and test."""
        data = {}
        sizes = {"pool": self.n_pool or 4 * self.n_train, "validation": self.n_validation, "test": self.n_test}
        for stream, (name, size) in enumerate(sizes.items()):
            generator = np.random.default_rng(np.random.SeedSequence([self.data_seed, stream]))
            showers = simulate(size, self.dataset, generator)
            data[f"{name}_cells"] = showers.cells
            data[f"{name}_targets"] = showers.energy_gev if self.target == "energy" else showers.x_cm
        return data

    def _job(self, configuration: Configuration, seed: int, weights_seed: int, sample: Any = None) -> Job:
        from raysearch.workloads._calorimeter.networks import Network

        build = partial(Network, Architecture.of(configuration.parameters), self.target)
        return _packs.job(self, configuration, seed, build, weights_seed, sample)

    def _common(self, data: Mapping[str, NDArray[np.float32]], sample: Any = slice(None)) -> Common:
        return _packs.common(self, data, "cells", "targets", _TASKS[self.target], sample)

    def pack_key(self, parameters: Mapping[str, Any]) -> Hashable | None:
        """Return what configurations have in common whose instances can train together; None where each is alone."""
        return _packs.key(self, replace(Architecture.of(parameters), dropout=0.0), Recipe.of(parameters))

    def _sample(self, seed: int, data: Mapping[str, NDArray[Any]]) -> tuple[int, NDArray[Any]]:
        """Return the torch seed and the rows of the pool that an instance is taught."""
        weights_seed, sampler = sources(seed, self.vary)
        return weights_seed, sampler.choice(len(data["pool_targets"]), self.n_train, replace=False)

    def predict(self, parameters: Mapping[str, Any], weights: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the energy in GeV or the position in cm `(n,)` of cells `(n, 15, 15)` in GeV."""
        from raysearch.training import loop
        from raysearch.workloads._calorimeter.networks import Network

        cells = np.asarray(inputs, dtype=np.float32)
        return loop.answer(Network(Architecture.of(parameters), self.target), weights, cells)

    def load_for_evaluation(
        self, parameters: Mapping[str, Any], weights: bytes, seed: int, data: Mapping[str, NDArray[Any]], examples: str
    ) -> EvaluatedModel:
        """Return an instance's network and its `validation` or `test` examples, for measures."""
        from raysearch.workloads import _instruments
        from raysearch.workloads._calorimeter.networks import Network

        network = Network(Architecture.of(parameters), self.target)
        own = _instruments.sets(data, "cells", "targets", self._sample(seed, data)[1])
        return _instruments.subject(network, weights, own, _TASKS[self.target], examples)

    def example(self, data: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the cells of a few test showers, `(5, 15, 15)`."""
        return data["test_cells"][:5]
