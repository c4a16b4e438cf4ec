"""What workloads that classify images have in common: how an instance is trained, measured and shown."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from raysearch.records import Configuration
from raysearch.training.measures import EvaluatedModel
from raysearch.training.recipe import Recipe
from raysearch.workloads import _packs
from raysearch.workloads._jobs import TrainsJobs
from raysearch.workloads._sources import sources

if TYPE_CHECKING:  # torch
    from raysearch.training.job import Common, Job

Data = Mapping[str, NDArray[Any]]
"""`SET_images` and `SET_labels` of the sets pool, validation and test."""


class ClassifiesImages(TrainsJobs):
    """Trains networks on cross entropy; a workload adds its data, its settings, `network` and `n_sample`."""

    loss: str
    epochs: int
    vary: str
    patience: int | None
    score: str
    n_threads: int
    device: str

    def network(self, parameters: Mapping[str, Any]) -> Any:
        """Return a new network."""
        raise NotImplementedError

    def architecture(self, parameters: Mapping[str, Any]) -> object:
        """Return what tells a configuration's network from another one, dropout aside."""
        raise NotImplementedError

    def n_sample(self, n_pool: int) -> int:
        """Return the size of an instance's training sample, drawn from a pool of `n_pool` examples."""
        raise NotImplementedError

    def pack_key(self, parameters: Mapping[str, Any]) -> Hashable | None:
        """Return what configurations have in common whose instances can train together; None where each is alone."""
        return _packs.key(self, self.architecture(parameters), Recipe.of(parameters))

    def load_for_evaluation(
        self, parameters: Mapping[str, Any], weights: bytes, seed: int, data: Data, examples: str
    ) -> EvaluatedModel:
        """Return an instance's network and its `validation` or `test` examples, for measures."""
        from raysearch.workloads import _instruments

        own = _instruments.sets(data, "images", "labels", self._sample(seed, data)[1])
        return _instruments.subject(self.network(parameters), weights, own, "cross_entropy", examples)

    def example(self, data: Data) -> NDArray[Any]:
        """Return a few test images."""
        return data["test_images"][:5]

    def _job(self, configuration: Configuration, seed: int, weights_seed: int, sample: Any = None) -> Job:
        build = functools.partial(self.network, configuration.parameters)
        return _packs.job(self, configuration, seed, build, weights_seed, sample)

    def _common(self, data: Data, sample: Any = slice(None)) -> Common:
        from raysearch.training import loop

        score = loop.error if self.loss == "error" else None
        return _packs.common(
            self, data, "images", "labels", "cross_entropy", sample, score=score, measure=loop.accuracies
        )

    def _sample(self, seed: int, data: Data) -> tuple[int, NDArray[Any]]:
        """Return the torch seed and the rows of the pool that an instance is taught."""
        weights_seed, sampler = sources(seed, self.vary)
        n_pool = len(data["pool_labels"])
        return weights_seed, sampler.choice(n_pool, self.n_sample(n_pool), replace=False)
