"""What measures found, as the journal keeps it: numbers of instances, and of configurations over their instances."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.storage.decoding import Entry, configuration_id, measure_name
from raysearch.storage.events import Measured

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "measures"
"""Of a run directory: arrays and figures."""


def read_measured(entries: Iterable[Entry]) -> list[Measured]:
    """Return what was measured by a journal, in its order; where something was measured twice, the later one."""
    found: dict[tuple[str, str, int | None], Measured] = {}
    for _, _, event in entries:
        if isinstance(event, Measured):
            found[event.measure, event.configuration_id, event.seed] = event
    return list(found.values())


def array_path(run_dir: Path, measure: str, of: str) -> Path:
    """Return where the arrays of a measure of the configuration with id `of` are kept, by example or layer.

    Raises JournalError for what names no measure or configuration: it could lead out of the run directory.
    """
    return run_dir / FOLDER / f"{measure_name(measure)}-{configuration_id(of)}.npz"


def figure_path(run_dir: Path, measure: str) -> Path:
    """Return where the figure of a measure is kept; raises JournalError for what is no measure's name."""
    return run_dir / FOLDER / f"{measure_name(measure)}.png"


def to_table(measured: Iterable[Measured]) -> pd.DataFrame:
    """Return one row per number: measure, configuration_id, seed (none: over instances), n_instances, number, value."""
    import pandas as pd

    rows = [
        (f.measure, f.configuration_id, f.seed, f.n_instances, number, value)
        for f in measured
        for number, value in f.numbers.items()
    ]
    columns = ["measure", "configuration_id", "seed", "n_instances", "number", "value"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})
