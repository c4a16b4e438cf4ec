"""Workload `module`: a torch network of your own, with everything that the workloads here have."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from raysearch.errors import ExperimentError
from raysearch.records import Configuration
from raysearch.registry import Validated
from raysearch.training.measures import EvaluatedModel
from raysearch.training.recipe import NAMES, Device, Recipe
from raysearch.training.score import check_score
from raysearch.workloads import _packs
from raysearch.workloads._imported import function
from raysearch.workloads._jobs import TrainsJobs
from raysearch.workloads._sources import Vary, sources

if TYPE_CHECKING:  # torch
    from raysearch.training.job import Common, Job

SETS = ("pool", "validation", "test")
_CLASSES = "cross_entropy"


@dataclass(frozen=True)
class Module(TrainsJobs, Validated):
    """Trains the network that `module` builds on the examples of `data`: packs, recipe, losses, measures, checkpoints.

    The space names what `module` reads of `parameters`, and the fields of `Recipe` (optimizer, lr, batch_size ...).

    Args:
        module: a function `build(parameters) -> torch.nn.Module`, or where to import it from, `my_package.build`.
        data: a function without arguments, or where to import it from. It returns `(inputs, targets)`, arrays of one
            row per example, which are split; or a mapping with `pool_inputs`, `pool_targets`, and the same of
            `validation` and `test`. An instance's training sample is drawn from the pool.
        task: the loss: `cross_entropy` (targets are whole numbers from 0), `rmse` or `relative_rmse`.
        n_train: examples in an instance's training sample; None takes nine tenths of the pool.
        share: of all examples, those that steer the race, and again those that steer nothing; in (0, 0.5).
        epochs: passes over the training sample.
        vary: what differs between seeds: `weights`, `sample` or `both`.
        patience: end an instance after so many epochs without a better loss, at its best epoch; None never does.
        score: the loss of an instance: `last`, `best`, or the mean of its last epochs, e.g. `mean_last_5`.
        split_seed: of the split.
        n_threads: of torch, per instance.
        device: `auto`, `cpu` or `cuda`.
    """

    module: Any
    data: Any
    task: Literal["cross_entropy", "rmse", "relative_rmse"] = "cross_entropy"
    n_train: Annotated[int, Ge(1)] | None = None
    share: Annotated[float, Interval(gt=0, lt=0.5)] = 0.2
    epochs: Annotated[int, Ge(1)] = 20
    vary: Vary = "both"
    patience: Annotated[int, Ge(1)] | None = None
    score: str = "last"
    split_seed: Annotated[int, Ge(0)] = 0
    n_threads: Annotated[int, Ge(1)] = 1
    device: Device = "auto"

    def __post_init__(self) -> None:
        """Refuse what is no function, and a score that these epochs cannot have."""
        super().__post_init__()
        for name in ("module", "data"):
            function(f"module: {name}", getattr(self, name))
        check_score(self.score, self.epochs, self.patience)

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise ExperimentError if there is no network, or no recipe, of these parameters."""
        Recipe.of(parameters)
        self.network(parameters)

    def prepare(self) -> dict[str, NDArray[Any]]:
        """Return `SET_inputs` and `SET_targets` of the sets pool, validation and test."""
        given = function("module: data", self.data)()
        if not isinstance(given, Mapping):
            return self._split(given)
        names = [f"{one}_{what}" for one in SETS for what in ("inputs", "targets")]
        if missing := [name for name in names if name not in given]:
            raise ExperimentError(f"module: data has no {', '.join(missing)}; it has {', '.join(map(str, given))}")
        return {name: self._array(name, given[name]) for name in names}

    def network(self, parameters: Mapping[str, Any]) -> Any:
        """Return a new network; raises ExperimentError where the function fails, or returns none."""
        import torch

        try:
            built = function("module: module", self.module)(dict(parameters))
        except Exception as error:
            raise ExperimentError(
                f"module: no network of {dict(parameters)}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(built, torch.nn.Module):
            raise ExperimentError(f"module: {self.module!r} returned {built!r:.80}, which is no torch.nn.Module")
        return built

    def pack_key(self, parameters: Mapping[str, Any]) -> Hashable | None:
        """Return what configurations have in common whose instances can train together: all but the recipe."""
        own = sorted((name, repr(value)) for name, value in parameters.items() if not _of_recipe(name))
        return _packs.key(self, own, Recipe.of(parameters))

    def load_for_evaluation(
        self, parameters: Mapping[str, Any], weights: bytes, seed: int, data: Any, examples: str
    ) -> EvaluatedModel:
        """Return an instance's network and its `validation` or `test` examples, for measures."""
        from raysearch.workloads import _instruments

        own = _instruments.sets(data, "inputs", "targets", self._sample(seed, data)[1])
        return _instruments.subject(self.network(parameters), weights, own, self.task, examples)

    def example(self, data: Any) -> NDArray[Any]:
        """Return the inputs of a few test examples."""
        return np.asarray(data["test_inputs"][:5])

    def predict(self, parameters: Mapping[str, Any], weights: bytes, inputs: Any) -> NDArray[Any]:
        """Return the network's outputs; for classes their probabilities `(n, n_classes)`."""
        from scipy.special import softmax

        from raysearch.training import loop

        outputs = loop.answer(self.network(parameters), weights, np.asarray(inputs))
        return np.asarray(softmax(outputs, axis=-1) if self.task == _CLASSES else outputs)

    @property
    def _measure(self) -> Any:
        from raysearch.training import loop

        return loop.accuracies if self.task == _CLASSES else None

    def _job(self, configuration: Configuration, seed: int, weights_seed: int, sample: Any = None) -> Job:
        build = functools.partial(self.network, configuration.parameters)
        return _packs.job(self, configuration, seed, build, weights_seed, sample)

    def _common(self, data: Any, sample: Any = slice(None)) -> Common:
        return _packs.common(self, data, "inputs", "targets", self.task, sample, measure=self._measure)

    def _sample(self, seed: int, data: Any) -> tuple[int, NDArray[Any]]:
        """Return the torch seed and the rows of the pool that an instance is taught."""
        weights_seed, sampler = sources(seed, self.vary)
        n_pool = len(data["pool_targets"])
        n_train = max(9 * n_pool // 10, 1) if self.n_train is None else self.n_train
        if n_train > n_pool:
            raise ExperimentError(f"module: n_train = {n_train}, but the pool has {n_pool} examples")
        return weights_seed, sampler.choice(n_pool, n_train, replace=False)

    def _split(self, given: Any) -> dict[str, NDArray[Any]]:
        try:
            inputs, targets = given
        except (TypeError, ValueError) as error:
            raise ExperimentError(
                f"module: data returned {given!r:.80}: return (inputs, targets), or a mapping with pool_inputs ..."
            ) from error
        if len(inputs) != len(targets):
            raise ExperimentError(f"module: data has {len(inputs)} inputs, but {len(targets)} targets")
        n_each = max(int(self.share * len(inputs)), 1)
        order = np.random.default_rng(self.split_seed).permutation(len(inputs))
        rows = dict(zip(("validation", "test", "pool"), np.split(order, [n_each, 2 * n_each]), strict=True))
        whole = {"inputs": self._array("inputs", inputs), "targets": self._array("targets", targets)}
        return {f"{one}_{what}": whole[what][rows[one]] for one in SETS for what in whole}

    def _array(self, name: str, values: Any) -> NDArray[Any]:
        """Return values as torch takes them: floats of 32 bits, and whole numbers of 64 for classes."""
        array = np.asarray(values)
        if name.endswith("targets") and self.task == _CLASSES:
            return array.astype(np.int64)
        if name.endswith("targets") and array.ndim != 1:
            raise ExperimentError(f"module: {name} of {self.task} must be one number per example, got {array.shape}")
        return array.astype(np.float32) if array.dtype.kind == "f" or name.endswith("targets") else array


def _of_recipe(name: str) -> bool:
    return name in NAMES or name.startswith("loss_")
