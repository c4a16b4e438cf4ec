"""What workloads that classify images have in common: how an instance is trained, measured and shown."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from raysearch.records import Configuration, InstanceResult, PackGain
from raysearch.training.measures import EvaluatedModel
from raysearch.training.recipe import Recipe
from raysearch.workloads import Report, _packs
from raysearch.workloads._sources import sources

if TYPE_CHECKING:  # torch
    from raysearch.training.job import Common, Job

Data = Mapping[str, NDArray[Any]]
"""`SET_images` and `SET_labels` of the sets pool, validation and test."""


class ClassifiesImages:
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

    def train(
        self, configuration: Configuration, seeds: Sequence[int], report: Report, data: Data
    ) -> list[InstanceResult]:
        """Train one network per seed and return their results."""
        return [self._instance(configuration, seed, report, data) for seed in seeds]

    def pack_key(self, parameters: Mapping[str, Any]) -> Hashable | None:
        """Return what configurations have in common whose instances can train together; None where each is alone."""
        return _packs.key(self, self.architecture(parameters), Recipe.of(parameters))

    def train_pack(
        self, members: Sequence[tuple[Configuration, int]], report: _packs.PackReport, data: Data
    ) -> Iterator[tuple[int, InstanceResult]]:
        """Train instances of one key together and yield each one's number and result when it has ended."""
        from raysearch.training.packs.instances import instances

        return instances(*self._pack(members, data), report)

    def measure_pack(self, configuration: Configuration, data: Data) -> PackGain:
        """Return how many instances of a configuration's architecture are worth a pack."""
        return _packs.measured(lambda members: self._pack(members, data), configuration)

    def _pack(self, members: Sequence[tuple[Configuration, int]], data: Data) -> tuple[list[Job], Common]:
        jobs = [self._job(configuration, seed, *self._sample(seed, data)) for configuration, seed in members]
        return jobs, self._common(data)

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

    def _instance(self, configuration: Configuration, seed: int, report: Report, data: Data) -> InstanceResult:
        from raysearch.training import loop

        weights_seed, sample = self._sample(seed, data)
        return loop.instance(self._job(configuration, seed, weights_seed), self._common(data, sample), report)

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
