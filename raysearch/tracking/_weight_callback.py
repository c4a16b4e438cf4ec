"""Keeps weights for measuring, whoever else tracks the search and whatever they do with theirs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raysearch.records import Configuration, InstanceResult, Phase, Status
from raysearch.rules import Elimination
from raysearch.storage.weights import WeightStore
from raysearch.tracking.silent import Silent

FOLDER = "measured_weights"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightCallback(Silent):
    """Safetensors files in `run_dir/measured_weights`; those of eliminated configurations go, unless `all_of_them`.

    They stay when the search has ended, so that it can be gone on with and measured again.
    """

    all_of_them: bool
    _shelves: list[WeightStore] = field(default_factory=list, init=False, repr=False, compare=False)

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        """Take the folder."""
        self._shelves[:] = [WeightStore.of(search, run_dir / FOLDER)]

    def told(self, configuration: Configuration, result: InstanceResult, phase: Phase) -> None:
        """Keep the weights of a whole instance."""
        if result.weights is None or result.status is not Status.COMPLETE:
            return
        try:
            self._shelves[0].keep(result.key, result.weights)
        except OSError as error:  # measures are beside the point of a race: it goes on
            _log.warning("weights of %s, seed %d, cannot be measured: %s", configuration.id, result.key.seed, error)

    def eliminated(self, configurations: Sequence[Configuration], cut: Elimination[str]) -> None:
        """Let go of what will not be measured."""
        if not self.all_of_them:
            for configuration in configurations:
                self._shelves[0].drop(configuration.id)


def kept(run_dir: Path, configuration_id: str) -> dict[int, Path]:
    """Return the kept files of a configuration by seed."""
    return WeightStore(run_dir / FOLDER).kept(configuration_id)
