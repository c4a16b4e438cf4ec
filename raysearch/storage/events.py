"""Events: the plain-data form of everything that changes a race, as the journal keeps it.

JSON has no infinity: non-finite numbers are the strings "inf", "-inf" and "nan".
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raysearch.errors import JournalError
from raysearch.records import Configuration, InstanceKey, InstanceResult, Status
from raysearch.rules import Elimination, RuleVerdict

Event = dict[str, Any]
REMARKS = frozenset({"start", "resume", "measure"})
"""Events that change nothing in a race."""
EVENTS = REMARKS | {
    "pool", "decide", "ask", "tell", "retry", "failure", "lost", "stop", "screen", "eliminate", "verdict", "final",
    "reopen",
}  # fmt: skip
"""All there are: an event of another name is damage."""
DAMAGE = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading an event raises where a field of it is missing or of the wrong kind."""
_MEASURE = re.compile(r"[a-z][a-z0-9_]{0,99}")
_ID = re.compile(r"[0-9a-f]{12}")


def encode_number(value: float) -> float | str:
    """Return a finite `value` itself, another one as "inf", "-inf" or "nan"."""
    return float(value) if math.isfinite(value) else str(float(value))


def encode_result(result: InstanceResult) -> Event:
    """Return the `tell` event of a result; weights are kept elsewhere."""
    return {
        "event": "tell",
        "configuration": result.key.configuration_id,
        "seed": result.key.seed,
        "status": result.status.value,
        "loss": encode_number(result.loss),
        "test_loss": None if result.test_loss is None else encode_number(result.test_loss),
        "curve": [encode_number(loss) for loss in result.curve],
        "seconds": round(result.seconds, 6),
        "node": result.node,
        "metrics": {name: encode_number(value) for name, value in result.metrics.items()},
        "attempt": result.attempt,
        "error": result.error,
    }


def decode_result(event: Mapping[str, Any]) -> InstanceResult:
    """Return the result that a `tell` event holds; raises JournalError if a field is missing or of the wrong kind."""
    try:
        return InstanceResult(
            key=decode_key(event),
            loss=float(event["loss"]),
            status=Status(event["status"]),
            curve=tuple(float(loss) for loss in event["curve"]),
            test_loss=None if event["test_loss"] is None else float(event["test_loss"]),
            seconds=float(event["seconds"]),
            node=str(event["node"]),
            metrics={str(name): float(value) for name, value in event["metrics"].items()},
            attempt=int(event["attempt"]),
            error=str(event["error"]),
        )
    except DAMAGE as error:
        raise _damaged(event, error) from error


def decode_measure(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the Finding that a `measure` event holds; raises JournalError if one is missing or wrong."""
    try:
        found = {
            "measure": measure_name(event["measure"]),
            "configuration_id": configuration_id(event["configuration"]),
            "seed": None if event["seed"] is None else _whole(event["seed"]),
            "numbers": {str(name): float(value) for name, value in event["numbers"].items()},
            "tables": {str(name): [_row(row) for row in rows] for name, rows in event["tables"].items()},
            "n_instances": _whole(event["n_instances"]),
            "error": str(event["error"]),
        }
        if found["seed"] is not None and not (found["numbers"] or found["error"]):
            raise ValueError("it says nothing of its instance")
        return found
    except DAMAGE as error:
        raise _damaged(event, error) from error


def measure_name(value: Any) -> str:
    """Return a measure's name, which also names files; raises JournalError for what could name any other file."""
    return _of_form(_MEASURE, value, "measure")


def configuration_id(value: Any) -> str:
    """Return a configuration's id, which also names files; raises JournalError for what could name any other file."""
    return _of_form(_ID, value, "configuration")


def _of_form(form: re.Pattern[str], value: Any, kind: str) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise JournalError(f"{str(value)[:60]!r} is the name of no {kind}: it has not the form {form.pattern}")
    return value


def _row(row: Any) -> dict[str, Any]:
    """Return a row of a table, plain values by name; raises ValueError for what no table can hold."""
    for value in row.values():
        if not (value is None or isinstance(value, str | float) or (isinstance(value, int) and abs(value) < 2**63)):
            raise ValueError(f"{str(value)[:60]} is no value of a table")
    return dict(row)


def _whole(value: Any) -> int:
    """Return a seed or a number of instances; raises ValueError where it has more than 32 bits, or is negative."""
    whole = int(value)
    if whole != value or not 0 <= whole < 2**32:
        raise ValueError(f"{str(value)[:60]} is no whole number of 32 bits")
    return whole


@contextlib.contextmanager
def at_line(line: int, event: Mapping[str, Any]) -> Iterator[None]:
    """Turn whatever reading `event` raises into a JournalError that names its line in the journal, from 1."""
    try:
        yield
    except JournalError as error:
        raise JournalError(f"line {line} of the journal: {error}") from error
    except DAMAGE as error:
        raise JournalError(f"line {line} of the journal: {_damaged(event, error)}") from error


def _damaged(event: Mapping[str, Any], error: Exception) -> JournalError:
    return JournalError(f"the event {str(dict(event))[:120]} is damaged or does not fit those before it: {error!r}")


def decode_key(event: Mapping[str, Any]) -> InstanceKey:
    """Return the instance an event speaks of."""
    return InstanceKey(str(event["configuration"]), int(event["seed"]))


def taken_back(events: Sequence[Event]) -> set[int]:
    """Return the positions of the results that a later `retry` took back: they count for nothing.

    `events` are those of a whole journal; raises JournalError, naming the line, for one that is damaged.
    """
    told: dict[InstanceKey, int] = {}
    back: set[int] = set()
    for position, event in enumerate(events):
        with at_line(position + 1, event):
            if event["event"] == "tell":
                told[decode_key(event)] = position
            elif event["event"] == "retry" and decode_key(event) in told:
                back.add(told.pop(decode_key(event)))
    return back


def encode_cut(wave: int, cut: Elimination, ids: Sequence[str]) -> Event:
    """Return the `eliminate` event of a cut; `ids` are those of its configurations."""
    return {
        "event": "eliminate",
        "wave": wave,
        "round": cut.round,
        "cutoff": encode_number(cut.cutoff),
        "n_instances": cut.n_instances,
        "configurations": list(ids),
        "values": [encode_number(value) for value in cut.values],
    }


def encode_verdict(wave: int, verdict: RuleVerdict, configurations: Sequence[Configuration]) -> Event:
    """Return the `verdict` event of a wave; `configurations` is the whole pool, which the verdict's rows index."""
    return {
        "event": "verdict",
        "wave": wave,
        "winner": configurations[verdict.leader].id,
        "indistinguishable": [configurations[row].id for row in verdict.indistinguishable],
        "probability": verdict.probability,
        "delta": verdict.delta,
        "certified": verdict.certified,
        "note": verdict.note,
        "n_instances": verdict.n_instances,
    }


def decode_verdict(event: Mapping[str, Any], rows: Mapping[str, int]) -> RuleVerdict:
    """Return the verdict that a `verdict` event holds; `rows` gives the row of each configuration's id."""
    return RuleVerdict(
        leader=rows[event["winner"]],
        indistinguishable=tuple(rows[id_] for id_ in event["indistinguishable"]),
        probability=None if event["probability"] is None else float(event["probability"]),
        delta=None if event["delta"] is None else float(event["delta"]),
        certified=None if event["certified"] is None else bool(event["certified"]),
        note=str(event["note"]),
        n_instances=None if event.get("n_instances") is None else _whole(event["n_instances"]),
    )
