"""How torch workloads train: one by one or in packs, from the same jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from raysearch.records import Configuration, InstanceResult, PackGain
from raysearch.workloads import Report
from raysearch.workloads._packs import PackReport

if TYPE_CHECKING:  # torch takes seconds to import
    from raysearch.training.job import Common, Job


class TrainsJobs:
    """Trains instances one by one or in packs from the same jobs; a workload adds `_job`, `_common` and `_sample`."""

    def _job(self, configuration: Configuration, seed: int, weights_seed: int, sample: Any = None) -> Job:
        """Return an instance, taught the rows `sample` of the pool of `_common`; None for all of them."""
        raise NotImplementedError

    def _common(self, data: Any, sample: Any = slice(None)) -> Common:
        """Return what instances share, its pool no more than the rows `sample` of the data's."""
        raise NotImplementedError

    def _sample(self, seed: int, data: Any) -> tuple[int, NDArray[Any]]:
        """Return the torch seed and the rows of the pool that an instance is taught."""
        raise NotImplementedError

    def train(
        self, configuration: Configuration, seeds: Sequence[int], report: Report, data: Any
    ) -> list[InstanceResult]:
        """Train one network per seed and return their results."""
        return [self._instance(configuration, seed, report, data) for seed in seeds]

    def train_pack(
        self, members: Sequence[tuple[Configuration, int]], report: PackReport, data: Any
    ) -> Iterator[tuple[int, InstanceResult]]:
        """Train instances of one key together and yield each one's number and result when it has ended."""
        from raysearch.training.packs.instances import instances

        jobs = [self._job(configuration, seed, *self._sample(seed, data)) for configuration, seed in members]
        return instances(jobs, self._common(data), report)

    def measure_pack(self, configuration: Configuration, data: Any) -> PackGain:
        """Return how many instances of a configuration's architecture are worth a pack."""
        from raysearch.training.packs.gain import measure

        return measure(lambda seed: self._job(configuration, seed, *self._sample(seed, data)), self._common(data))

    def _instance(self, configuration: Configuration, seed: int, report: Report, data: Any) -> InstanceResult:
        from raysearch.training import loop

        weights_seed, sample = self._sample(seed, data)
        return loop.instance(self._job(configuration, seed, weights_seed), self._common(data, sample), report)
