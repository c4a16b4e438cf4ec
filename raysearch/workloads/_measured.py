"""A workload whose instances are measured on the worker, right after training; a measure may be their loss."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysearch.criteria.objectives import TASK_LOSS
from raysearch.errors import WorkloadError
from raysearch.records import Configuration, InstanceResult, PackGain, Status
from raysearch.workloads import Report
from raysearch.workloads._packs import PackReport

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """Trains as `workload` does and adds `NAME.NUMBER` to the metrics.

    `of` names the metric that becomes the loss, `beside` are further metrics that must be there.

    `measures` are measures of one instance by name, on validation examples. Where the loss is a measure, the test loss
    is that measure on test examples. The curve stays that of the workload's own loss.
    """

    workload: Any
    measures: Mapping[str, Any]
    of: str | None = None
    beside: tuple[str, ...] = ()

    def prepare(self) -> Any:
        """Return the workload's data."""
        return self.workload.prepare()

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Pass on."""
        self.workload.check(parameters)

    def train(
        self, configuration: Configuration, seeds: Sequence[int], report: Report, data: Any
    ) -> list[InstanceResult]:
        """Train and measure; raises WorkloadError where the results lack the metric that steers the race."""
        results = self.workload.train(configuration, seeds, report, data)
        return [self._measured(configuration, result, data) for result in results]

    def pack_key(self, parameters: Mapping[str, Any]) -> Hashable | None:
        """Return the workload's key, None where it trains no packs."""
        key: Hashable | None = self.workload.pack_key(parameters) if hasattr(self.workload, "pack_key") else None
        return key

    def train_pack(
        self, members: Sequence[tuple[Configuration, int]], report: PackReport, data: Any
    ) -> Iterator[tuple[int, InstanceResult]]:
        """Train instances together and measure each one that has ended, as `train` does."""
        for number, result in self.workload.train_pack(members, report, data):
            yield number, self._measured(members[number][0], result, data)

    def measure_pack(self, configuration: Configuration, data: Any) -> PackGain:
        """Return what packs of the workload gain; their measures cost what they cost."""
        own = getattr(self.workload, "measure_pack", None)
        return PackGain(1) if own is None else own(configuration, data)

    def _measured(self, configuration: Configuration, result: InstanceResult, data: Any) -> InstanceResult:
        if result.status is not Status.COMPLETE:
            return result
        metrics = {**result.metrics, **self._numbers(configuration, result, data, "validation", self.measures)}
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        for name in self._needed:
            if name not in metrics:
                known = ", ".join(sorted(metrics)) or "none"
                raise WorkloadError(f"no metric {name!r} in the result, which a criterion is `of`. It has: {known}")
        if self.of is None:
            return dataclasses.replace(result, metrics=finite)
        steering = {name: measure for name, measure in self.measures.items() if self.of.startswith(f"{name}.")}
        test = self._numbers(configuration, result, data, "test", steering)
        loss = metrics[self.of]
        sound = math.isfinite(loss)
        return dataclasses.replace(
            result,
            loss=loss if sound else math.inf,
            status=Status.COMPLETE if sound else Status.DIVERGED,
            test_loss=test.get(self.of),
            metrics={**finite, TASK_LOSS: result.loss},
        )

    @property
    def _needed(self) -> tuple[str, ...]:
        return self.beside if self.of is None else (self.of, *self.beside)

    def _numbers(
        self,
        configuration: Configuration,
        result: InstanceResult,
        data: Any,
        examples: str,
        measures: Mapping[str, Any],
    ) -> dict[str, float]:
        """Return the numbers by name; those by layer, with a dot in their own names, are left to the search's end."""
        numbers: dict[str, float] = {}
        if measures:
            subject = self.workload.load_for_evaluation(
                configuration.parameters, result.weights, result.key.seed, data, examples
            )
            for name, measure in measures.items():
                try:
                    found = measure(subject).numbers
                except Exception as error:
                    if any(metric.startswith(f"{name}.") for metric in self._needed):
                        raise
                    _log.warning("%s of %s cannot be measured: %s", name, result.key, error)  # the instance is sound
                    continue
                numbers |= {f"{name}.{number}": value for number, value in found.items() if "." not in number}
        return numbers
