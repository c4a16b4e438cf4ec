"""One row per instance: from the journal's events to a table, and to Parquet and back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.errors import RunDirectoryError
from raysearch.records import Configuration, InstanceKey, InstanceResult, Status
from raysearch.seeds import Seeds
from raysearch.storage import events as e
from raysearch.storage.decoding import Entry
from raysearch.storage.encoding import encode_number
from raysearch.storage.events import Event
from raysearch.storage.whole_file import whole

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "configuration_id", "parameters", "seed", "instance", "phase", "status", "loss", "test_loss", "epochs", "seconds",
    "node", "attempt", "error", "curve", "metrics",
)  # fmt: skip

JOURNAL = "journal"
"""Attribute of a table, in Parquet too: how many events it was made of, and the time of the last."""


def to_frame(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return one row per ended instance, in the order they ended, with COLUMNS and one `p.NAME` per parameter.

    `loss` is +inf where an instance diverged or failed and NaN where it was stopped; `instance` counts from 0 within
    its phase; `parameters` and `metrics` are JSON. Of an instance that ended several times, as a search that was gone
    on with may ask again for what it had stopped, the last end counts; what a `retry` took back has none.
    """
    import pandas as pd

    table, entry = _Table(), None
    for entry in entries:
        entry.give(table.take)
    frame = pd.DataFrame(table.whole_rows(), columns=table.columns)
    frame.attrs[JOURNAL] = [0, None] if entry is None else [entry.number, entry.time_s]
    return frame


class _Table:
    """The rows that the events so far add up to."""

    def __init__(self) -> None:
        self._seeds = Seeds(0)
        self._shared: dict[str, dict[str, Any]] = {}
        """What all rows of a configuration have in common, by its id."""
        self._measured: dict[InstanceKey, dict[str, Any]] = {}
        self._rows: dict[InstanceKey, dict[str, Any]] = {}

    @property
    def columns(self) -> list[str]:
        """The names of all columns: COLUMNS, and those of the parameters, sorted."""
        own = {name for values in self._shared.values() for name in values}
        return [*COLUMNS, *sorted(own.difference(COLUMNS))]

    def take(self, event: Event) -> None:
        """Take in the next event."""
        match event:
            case e.Start():
                self._seeds = Seeds(int(event.experiment["seed"]))
            case e.Wave():
                self._shared.update({one.id: _shared(one) for one in event.configurations})
            case e.Tell() | e.Stop() | e.Screen():
                row = self._shared[event.key.configuration_id] | _row(event, self._seeds)
                self._rows.pop(event.key, None)  # the new one goes to the end
                self._rows[event.key] = row
            case e.Retry():
                del self._rows[event.key]
            case e.Measured(seed=int(seed)):
                key = InstanceKey(event.configuration_id, seed)
                numbers = {f"{event.measure}.{name}": encode_number(value) for name, value in event.numbers.items()}
                self._measured.setdefault(key, {}).update(numbers)

    def whole_rows(self) -> list[dict[str, Any]]:
        """Return the rows, those of whole trainings with what was measured at the end."""
        for key, own in self._measured.items():
            row = self._rows.get(key, {})
            if row.get("status") == Status.COMPLETE.value:
                row["metrics"] = json.dumps({**json.loads(row["metrics"]), **own})
        return list(self._rows.values())


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write the table aside with pyarrow and rename it. Parameters whose values have several types are kept as text."""
    plain = frame.copy()
    for name in plain.columns:
        if str(name).startswith("p.") and not _holds(plain[name]):
            plain[name] = [None if _is_missing(value) else str(value) for value in plain[name]]
    try:
        with whole(path) as aside:
            plain.to_parquet(aside, engine="pyarrow", index=False)
    except OSError as error:
        raise RunDirectoryError(f"cannot write {path}: {error}") from error


def _holds(column: pd.Series[Any]) -> bool:
    """Whether Parquet can hold a column as it is."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

    try:
        return "struct" not in str(pa.array(column, from_pandas=True).type)
    except (pa.ArrowException, OverflowError):
        return False


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def read_parquet(path: Path) -> pd.DataFrame:
    """Return the table that `write_parquet` wrote."""
    import pandas as pd

    return pd.read_parquet(path, engine="pyarrow")


def _shared(configuration: Configuration) -> dict[str, Any]:
    parameters = dict(configuration.parameters)
    own = {f"p.{name}": value for name, value in parameters.items()}
    return {"configuration_id": configuration.id, "parameters": json.dumps(parameters), **own}


def _row(event: e.Tell | e.Stop | e.Screen, seeds: Seeds) -> dict[str, Any]:
    phase, instance = seeds.index(event.key.seed)
    result = event.result if isinstance(event, e.Tell) else _ended_early(event)
    return {
        "seed": event.key.seed,
        "instance": instance,
        "phase": phase.value,
        "status": result.status.value,
        "loss": result.loss,
        "test_loss": math.nan if result.test_loss is None else result.test_loss,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "node": result.node,
        "attempt": result.attempt,
        "error": result.error.encode(errors="replace").decode(),
        "curve": list(result.curve),
        "metrics": json.dumps(dict(result.metrics)) if result.metrics else "{}",
    }


def _ended_early(event: e.Stop | e.Screen) -> InstanceResult:
    if isinstance(event, e.Stop):
        return InstanceResult(event.key, math.nan, Status.STOPPED)
    return InstanceResult(event.key, math.nan, Status.STOPPED, event.curve, seconds=event.seconds, node=event.node)
