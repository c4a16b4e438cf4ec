"""What measures found, as the journal keeps it: numbers of instances, and of configurations over their instances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.storage.events import Event, at_line, configuration_id, decode_measure, encode_number, measure_name

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "measures"
"""Of a run directory: arrays and figures."""


@dataclass(frozen=True)
class Finding:
    """The numbers of one measure for one instance, or (`seed` None) for a configuration over `n_instances`.

    `tables` are lists of rows by name; `error` says why there are no numbers.
    """

    measure: str
    configuration_id: str
    seed: int | None
    numbers: Mapping[str, float]
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    n_instances: int = 1
    error: str = ""

    def event(self) -> Event:
        """Return the `measure` event that says this."""
        return {
            "event": "measure",
            "measure": self.measure,
            "configuration": self.configuration_id,
            "seed": self.seed,
            "numbers": {name: encode_number(value) for name, value in self.numbers.items()},
            "tables": {name: [_plain(row) for row in rows] for name, rows in self.tables.items()},
            "n_instances": self.n_instances,
            "error": self.error,
        }


def read_findings(events: Iterable[Event]) -> list[Finding]:
    """Return the findings in a journal, in its order; where something was measured twice, the later one.

    Raises JournalError, naming the line, for one that is damaged or names what is no measure or configuration.
    """
    found: dict[tuple[str, str, int | None], Finding] = {}
    for line, event in enumerate(events, start=1):
        if event["event"] == "measure":
            with at_line(line, event):
                finding = Finding(**decode_measure(event))
            found[finding.measure, finding.configuration_id, finding.seed] = finding
    return list(found.values())


def array_path(run_dir: Path, measure: str, of: str) -> Path:
    """Return where the arrays of a measure of the configuration with id `of` are kept, by example or layer.

    Raises JournalError for what names no measure or configuration: it could lead out of the run directory.
    """
    return run_dir / FOLDER / f"{measure_name(measure)}-{configuration_id(of)}.npz"


def figure_path(run_dir: Path, measure: str) -> Path:
    """Return where the figure of a measure is kept; raises JournalError for what is no measure's name."""
    return run_dir / FOLDER / f"{measure_name(measure)}.png"


def to_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Return one row per number: measure, configuration_id, seed (none: over instances), n_instances, number, value."""
    import pandas as pd

    rows = [
        (f.measure, f.configuration_id, f.seed, f.n_instances, number, value)
        for f in findings
        for number, value in f.numbers.items()
    ]
    columns = ["measure", "configuration_id", "seed", "n_instances", "number", "value"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: encode_number(value) if isinstance(value, float) else value for name, value in row.items()}
