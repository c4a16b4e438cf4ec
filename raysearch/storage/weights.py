"""Weights on disk while it is open whose will be needed: a race must not hold gigabytes in memory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysearch.records import InstanceKey, Phase
from raysearch.seeds import Seeds
from raysearch.storage.whole_file import whole


class WeightStore:
    """Safetensors files under `folder/<configuration_id>/<seed>.safetensors`.

    With `seeds`, those of the search, what confirms a configuration is kept although the race dropped it: a finalist.
    """

    def __init__(self, folder: Path, seeds: Seeds | None = None) -> None:
        self.folder, self._seeds = folder, seeds
        self._dropped: set[str] = set()

    @classmethod
    def of(cls, search: Mapping[str, Any], folder: Path) -> WeightStore:
        """Return the store of an experiment as plain data, which may name no seed."""
        return cls(folder, Seeds(search["seed"]) if "seed" in search else None)

    def keep(self, key: InstanceKey, weights: bytes) -> Path | None:
        """Write the weights of one instance; None if its configuration has been dropped. Raises OSError."""
        if key.configuration_id in self._dropped and not self._confirms(key.seed):
            return None
        path = self.folder / key.configuration_id / f"{key.seed}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as aside:
            aside.write_bytes(weights)
        return path

    def drop(self, configuration_id: str) -> None:
        """Delete what is kept of a configuration and keep nothing of it from now on."""
        self._dropped.add(configuration_id)
        kept = self.kept(configuration_id)
        if any(map(self._confirms, kept)):
            for seed, path in kept.items():
                if not self._confirms(seed):
                    path.unlink(missing_ok=True)
        else:
            shutil.rmtree(self.folder / configuration_id, ignore_errors=True)

    def drop_all_but(self, configuration_id: str) -> None:
        """Delete what is kept of every other configuration."""
        if self.folder.is_dir():
            for child in self.folder.iterdir():
                if child.name != configuration_id:
                    self._dropped.add(child.name)
                    shutil.rmtree(child, ignore_errors=True)

    def _confirms(self, seed: int) -> bool:
        return self._seeds is not None and self._seeds.index(seed)[0] is Phase.CONFIRMATION

    def kept(self, configuration_id: str) -> dict[int, Path]:
        """Return the kept files of a configuration by seed."""
        folder = self.folder / configuration_id
        return {int(path.stem): path for path in sorted(folder.glob("*.safetensors"))} if folder.is_dir() else {}
