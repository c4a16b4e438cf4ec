"""Recorded tables: many instances of each configuration of a space, by name or from a file. They train nothing.

A table is an `instances.parquet`, a finished search's or one made for the purpose by `benchmarks/record_table.py`.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raysearch.errors import ExperimentError, unknown
from raysearch.records import Configuration, Phase

if TYPE_CHECKING:
    import pandas as pd

VARIABLE = "RAYSEARCH_TABLES"
"""Environment variable: folders of tables, separated as in PATH, beside the repository's own."""
METADATA = b"raysearch"
"""Key of a table's Parquet metadata: JSON, the experiment that it was recorded by."""
_OWN = Path(__file__).parents[2] / "benchmarks" / "data"
_NEEDED = ("configuration_id", "parameters", "seed", "phase", "loss", "test_loss", "seconds", "curve")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RecordedTable:
    """What was recorded, one row per configuration and one column per seed; NaN where nothing was.

    `losses`, `test_losses` and `seconds` are `(n_configurations, n_seeds)`, `curves` has a third axis, epochs. +inf is
    a diverged instance. The first `n_race` columns are instances of a race, the others confirmed or tell the truth.
    `experiment` is the experiment as its file says it, `{}` where the table does not tell.
    """

    configurations: tuple[Configuration, ...]
    seeds: NDArray[np.int64]
    n_race: int
    losses: Array
    test_losses: Array
    seconds: Array
    curves: NDArray[np.float32]
    experiment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def race(self) -> Array:
        """Losses of the race's instances `(n_configurations, n_race)`."""
        return self.losses[:, : self.n_race]

    @property
    def held_out(self) -> Array:
        """Losses of the other instances, which no race asks for; rows without any are NaN."""
        return self.losses[:, self.n_race :]

    @functools.cached_property
    def rows(self) -> dict[str, int]:
        """The row of each configuration by its id."""
        return {one.id: row for row, one in enumerate(self.configurations)}

    def column(self, seed: int) -> int | None:
        """Return the column of a seed, None where it was not recorded."""
        found = np.flatnonzero(self.seeds == seed)
        return int(found[0]) if len(found) else None

    def row(self, parameters: Mapping[str, Any]) -> int:
        """Return the row of a configuration; raises ExperimentError, naming a value, where it was not recorded."""
        row = self.rows.get(Configuration.of(parameters).id)
        if row is None:
            raise ExperimentError(f"configuration {dict(parameters)} was not recorded{self._reason(parameters)}")
        return row

    def _reason(self, parameters: Mapping[str, Any]) -> str:
        known: dict[str, list[Any]] = {}
        for one in self.configurations:
            for name, value in one.parameters.items():
                values = known.setdefault(name, [])
                if value not in values:
                    values.append(value)
        for name, value in Configuration.of(parameters).parameters.items():
            if name not in known:
                return f": it has no parameter {name!r}, only {', '.join(known)}"
            if value not in known[name]:
                return f": {name} = {value!r} is none of {', '.join(map(repr, known[name][:20]))}"
        return f": it is none of the {len(self.configurations)} combinations in the table"


def names() -> list[str]:
    """Return the sorted names of the tables that can be loaded by name."""
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.parquet") if _is_table(path)})


def find(table: str) -> Path:
    """Return the file of a table, given by name or as a path; raises ExperimentError where there is none."""
    for path in (Path(table), *(folder / f"{table}.parquet" for folder in _folders())):
        if path.is_file():
            return path
    if "/" in table or table.endswith(".parquet"):
        raise ExperimentError(f"there is no table {table!r}: name the instances.parquet of a finished search")
    raise ExperimentError(
        f"{unknown('table', table, names())} Tables come with the repository, not with the package: name a Parquet "
        f"file, or a folder of them in the environment variable {VARIABLE}"
    )


def load(table: str) -> RecordedTable:
    """Return a table by name or path; read once as long as the file stays the same.

    Raises ExperimentError where there is none, or where the file is none.
    """
    path = find(table)
    return _read(path, path.stat().st_mtime_ns)


def _folders() -> list[Path]:
    given = [Path(folder) for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    return [folder for folder in (*given, _OWN) if folder.is_dir()]


def _is_table(path: Path) -> bool:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    try:
        return set(_NEEDED) <= set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return False


@functools.lru_cache(maxsize=4)
def _read(path: Path, _: int) -> RecordedTable:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    try:
        held = pq.read_schema(path).names
        if missing := [name for name in _NEEDED if name not in held]:
            raise ExperimentError(f"{path} is no table of instances: it has no column {', '.join(missing)}")
        table = pq.read_table(path, columns=list(_NEEDED))
    except (OSError, pa.ArrowException) as error:
        raise ExperimentError(f"cannot read the table {path}: {error}") from error
    told = (table.schema.metadata or {}).get(METADATA)
    return _of_frame(table.to_pandas(), json.loads(told) if told else {})


def _of_frame(frame: pd.DataFrame, experiment: Mapping[str, Any]) -> RecordedTable:
    frame = frame[~frame["loss"].isna()]  # stopped instances say nothing
    first = frame.drop_duplicates("configuration_id")
    configurations = tuple(Configuration.of(json.loads(text)) for text in first["parameters"])
    rows = {one.id: row for row, one in enumerate(configurations)}
    races = frame["phase"] == Phase.RACE.value
    by_phase = [frame.loc[chosen, "seed"].drop_duplicates().to_numpy(np.int64) for chosen in (races, ~races)]
    seeds = np.concatenate(by_phase)
    columns = {int(seed): column for column, seed in enumerate(seeds)}
    row = frame["configuration_id"].map(rows).to_numpy(np.intp)
    column = frame["seed"].map(columns).to_numpy(np.intp)

    def placed(name: str) -> Array:
        values = np.full((len(rows), len(seeds)), np.nan)
        values[row, column] = frame[name].to_numpy(np.float64)
        return values

    lengths = frame["curve"].map(len).to_numpy(np.intp)
    curves = np.full((len(rows), len(seeds), int(lengths.max(initial=0))), np.nan, dtype=np.float32)
    if lengths.sum():
        epoch = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        flat = np.concatenate([np.asarray(curve, dtype=np.float32) for curve in frame["curve"]])
        curves[np.repeat(row, lengths), np.repeat(column, lengths), epoch] = flat
    return RecordedTable(
        configurations,
        seeds,
        len(by_phase[0]),
        losses=placed("loss"),
        test_losses=placed("test_loss"),
        seconds=placed("seconds"),
        curves=curves,
        experiment=experiment,
    )
