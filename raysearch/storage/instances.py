"""One row per instance: from the journal's events to a table, and to Parquet and back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.errors import RunDirectoryError
from raysearch.records import InstanceKey, Status
from raysearch.seeds import Seeds
from raysearch.storage.events import Event, at_line, decode_key, decode_measure, decode_result, encode_number

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "configuration_id", "parameters", "seed", "instance", "phase", "status", "loss", "test_loss", "epochs", "seconds",
    "node", "attempt", "error", "curve", "metrics",
)  # fmt: skip

JOURNAL = "journal"
"""Attribute of a table, in Parquet too: how many events it was made of, and the time of the last."""


def to_frame(events: Iterable[Event]) -> pd.DataFrame:
    """Return one row per ended instance, in the order they ended, with COLUMNS and one `p.NAME` per parameter.

    `loss` is +inf where an instance diverged or failed and NaN where it was stopped; `instance` counts from 0 within
    its phase; `parameters` and `metrics` are JSON. Of an instance that ended several times, as a search that was gone
    on with may ask again for what it had stopped, the last end counts; what a `retry` took back has none.
    """
    import pandas as pd

    table, line, last = _Table(), 0, None
    for line, event in enumerate(events, start=1):
        with at_line(line, event):
            table.take(event)
        last = event.get("t")
    frame = pd.DataFrame(table.whole_rows(), columns=[*COLUMNS, *(f"p.{name}" for name in table.names)])
    frame.attrs[JOURNAL] = [line, last]
    return frame


class _Table:
    """The rows that the events so far add up to."""

    def __init__(self) -> None:
        self._seeds = Seeds(0)
        self._parameters: dict[str, dict[str, Any]] = {}
        self._measured: dict[InstanceKey, dict[str, Any]] = {}
        self._rows: dict[InstanceKey, dict[str, Any]] = {}

    @property
    def names(self) -> list[str]:
        """The sorted names of all parameters."""
        return sorted({name for values in self._parameters.values() for name in values})

    def take(self, event: Event) -> None:
        """Take in the next event."""
        match event["event"]:
            case "start":
                self._seeds = Seeds(int(event["experiment"]["seed"]))
            case "pool":
                self._parameters.update({str(id_): dict(values) for id_, values in event["configurations"]})
            case "tell" | "stop" | "screen":
                row = _row(event, self._seeds, self._parameters[event["configuration"]])
                self._rows.pop(decode_key(event), None)  # the new one goes to the end
                self._rows[decode_key(event)] = row
            case "retry":
                del self._rows[decode_key(event)]
            case "measure":
                found = decode_measure(event)
                if found["seed"] is not None:
                    key = InstanceKey(found["configuration_id"], found["seed"])
                    numbers = {f"{found['measure']}.{name}": encode_number(v) for name, v in found["numbers"].items()}
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
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        plain.to_parquet(aside, engine="pyarrow", index=False)
        aside.replace(path)
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


def _row(event: Event, seeds: Seeds, parameters: dict[str, Any]) -> dict[str, Any]:
    phase, instance = seeds.index(int(event["seed"]))
    row = {
        "configuration_id": event["configuration"],
        "parameters": json.dumps(parameters),
        "seed": int(event["seed"]),
        "instance": instance,
        "phase": phase.value,
        **{f"p.{name}": value for name, value in parameters.items()},
    }
    if event["event"] in ("stop", "screen"):
        curve = [float(loss) for loss in event.get("curve", ())]
        reached = {
            "epochs": len(curve),
            "seconds": float(event.get("seconds", 0.0)),
            "node": str(event.get("node", "")),
        }
        nothing = {"test_loss": float("nan"), "attempt": 1, "error": "", "metrics": "{}"}
        return {**row, **nothing, **reached, "status": Status.STOPPED.value, "loss": float("nan"), "curve": curve}
    result = decode_result(event)
    return {
        **row,
        "status": result.status.value,
        "loss": result.loss,
        "test_loss": float("nan") if result.test_loss is None else result.test_loss,
        "epochs": result.epochs,
        "seconds": result.seconds,
        "node": result.node,
        "attempt": result.attempt,
        "error": result.error.encode(errors="replace").decode(),
        "curve": list(result.curve),
        "metrics": json.dumps(dict(result.metrics)),
    }
