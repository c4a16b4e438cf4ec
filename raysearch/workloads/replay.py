"""Workload `replay`: instances that were trained before, from a recorded table. No torch.

The executor of the same name simulates a cluster besides; this one is an ordinary workload, for any search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysearch.errors import ExperimentError
from raysearch.records import Configuration, InstanceKey, InstanceResult
from raysearch.registry import Validated
from raysearch.storage import tables
from raysearch.storage.tables import RecordedTable
from raysearch.workloads import Report


@dataclass(frozen=True)
class Replay(Validated):
    """Answers with the recorded loss, curve, test loss and seconds of an instance; the space is the table's.

    A seed that was recorded is answered by its own instance: a search with the table's file and seed is repeated, its
    confirmation too where that was recorded. Any other seed, as of a search with another `seed`, is answered by one of
    the race's instances, drawn by it with repetition and the same for all configurations; the truth is then the
    distribution of those instances itself.

    Args:
        table: a name (`digits_1728`) or a file, e.g. the `instances.parquet` of a finished search.
    """

    table: str

    def prepare(self) -> RecordedTable:
        """Return the table."""
        return tables.load(self.table)

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise ExperimentError if there is no such table, or it does not hold this configuration."""
        table = tables.load(self.table)
        try:
            table.row(parameters)
        except ExperimentError as error:
            raise type(error)(f"table {self.table}: {error}") from error

    def train(
        self, configuration: Configuration, seeds: Sequence[int], report: Report, data: RecordedTable
    ) -> list[InstanceResult]:
        """Return what was recorded for each seed, reporting its curve."""
        return [self._instance(configuration, seed, report, data) for seed in seeds]

    def _instance(self, configuration: Configuration, seed: int, report: Report, data: RecordedTable) -> InstanceResult:
        row, column = data.rows[configuration.id], data.column(seed)
        if column is None or np.isnan(data.losses[row, column]):
            recorded = np.flatnonzero(~np.isnan(data.race[row]))
            column = recorded[np.random.default_rng([seed]).integers(len(recorded))]
        curve = tuple(data.curves[row, column][~np.isnan(data.curves[row, column])].tolist())
        for epoch, loss in enumerate(curve, 1):
            report(epoch, loss)
        test_loss = data.test_losses[row, column]
        return InstanceResult.of(
            InstanceKey(configuration.id, seed),
            float(data.losses[row, column]),
            curve=curve,
            test_loss=None if np.isnan(test_loss) else float(test_loss),
            seconds=float(data.seconds[row, column]),
        )
