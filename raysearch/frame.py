"""One row per instance: from the journal's events to a table, and to Parquet and back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.errors import JournalError, RunDirectoryError
from raysearch.events import Event, decode_result, taken_back
from raysearch.pool import Seeds
from raysearch.records import Status

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "configuration_id", "parameters", "seed", "instance", "phase", "status", "loss", "test_loss", "epochs", "seconds",
    "node", "attempt", "error", "curve", "metrics",
)  # fmt: skip


def to_frame(events: Iterable[Event]) -> pd.DataFrame:
    """Return one row per ended instance, in the order they ended, with COLUMNS and one `p.NAME` per parameter.

    `loss` is +inf where an instance diverged or failed and NaN where it was stopped; `instance` counts from 0 within
    its phase; `parameters` and `metrics` are JSON.
    """
    import pandas as pd

    parameters: dict[str, dict[str, Any]] = {}
    measured: dict[tuple[str, int], dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    seeds = Seeds(0)
    events = list(events)
    try:
        back = taken_back(events)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise JournalError(f"the journal is damaged: {error!r}") from error
    for position, event in enumerate(events):
        try:
            if event["event"] == "start":
                seeds = Seeds(int(event["experiment"]["seed"]))
            elif event["event"] == "pool":
                parameters.update({str(id_): dict(values) for id_, values in event["configurations"]})
            elif event["event"] in ("tell", "stop", "screen") and position not in back:
                rows.append(_row(event, seeds, parameters[event["configuration"]]))
            elif event["event"] == "measure" and event["seed"] is not None:
                numbers = {f"{event['measure']}.{name}": value for name, value in event["numbers"].items()}
                measured.setdefault((event["configuration"], int(event["seed"])), {}).update(numbers)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise JournalError(f"the journal's event {str(event)[:120]} is damaged: {error!r}") from error
    for row in rows:
        if row["status"] == Status.COMPLETE.value:
            own = measured.get((row["configuration_id"], row["seed"]), {})
            row["metrics"] = json.dumps({**json.loads(row["metrics"]), **own}) if own else row["metrics"]
    names = sorted({name for values in parameters.values() for name in values})
    return pd.DataFrame(rows, columns=[*COLUMNS, *(f"p.{name}" for name in names)])


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
