"""From the lines of a journal back to events, with damage named by its line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from raysearch.errors import JournalError
from raysearch.records import Configuration, InstanceKey, InstanceResult, PackGain, Phase, Status, TrialRequest
from raysearch.rules import Elimination, RuleVerdict
from raysearch.storage import events as e
from raysearch.storage.encoding import encode
from raysearch.storage.events import Event

DAMAGE = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading an event raises where a field of it is missing or of the wrong kind."""
_MEASURE = re.compile(r"[a-z][a-z0-9_]{0,99}")
_ID = re.compile(r"[0-9a-f]{12}")
Known = Mapping[str, Configuration]


def decode(line: Mapping[str, Any], known: Known) -> Event:
    """Return the event of a line; `known` are the configurations of the lines before it, by id.

    Raises JournalError where a field is missing or of the wrong kind.
    """
    try:
        return _DECODERS[line["event"]](line, known)
    except JournalError:
        raise
    except DAMAGE as error:
        raise _damaged(line, error) from error


class Entry(NamedTuple):
    """An event of a journal, its line's number, from 1, and when it happened, in seconds since 1970."""

    number: int
    time_s: float
    event: Event

    def give(self, take: Callable[[Event], object]) -> None:
        """Call `take` with the event; raises JournalError, naming the line, where it does not fit."""
        try:
            take(self.event)
        except JournalError as error:
            raise JournalError(f"line {self.number} of the journal: {error}") from error
        except DAMAGE as error:
            raise JournalError(f"line {self.number} of the journal: {_damaged(encode(self.event), error)}") from error


def entries(lines: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Yield the events of a whole journal; raises JournalError, naming the line, for one that is damaged."""
    known: dict[str, Configuration] = {}
    for number, line in enumerate(lines, start=1):
        try:
            event = decode(line, known)
        except JournalError as error:
            raise JournalError(f"line {number} of the journal: {error}") from error
        if isinstance(event, e.Wave):
            known.update({configuration.id: configuration for configuration in event.configurations})
        yield Entry(number, float(line.get("t", math.nan)), event)


def taken_back(history: Iterable[Entry]) -> set[int]:
    """Return the numbers of the results that a later Retry took back: they count for nothing."""
    told: dict[InstanceKey, int] = {}
    back: set[int] = set()
    for number, _, event in history:
        if isinstance(event, e.Tell):
            told[event.key] = number
        elif isinstance(event, e.Retry) and event.key in told:
            back.add(told.pop(event.key))
    return back


def _damaged(line: Mapping[str, Any], error: Exception) -> JournalError:
    return JournalError(f"the event {str(dict(line))[:120]} is damaged or does not fit those before it: {error!r}")


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


def _key(line: Mapping[str, Any]) -> InstanceKey:
    return InstanceKey(str(line["configuration"]), int(line["seed"]))


def _to_learn(line: Mapping[str, Any], known: Known) -> e.Learn:
    configurations = tuple(_known_by_content(id_, parameters) for id_, parameters in line["configurations"])
    ids = {one.id for one in configurations}
    results = tuple(_learnt(*one) for one in line["results"])
    survivors = tuple(map(configuration_id, line["survivors"]))
    strangers = sorted({one.key.configuration_id for one in results}.union(survivors) - ids)
    if strangers:
        raise ValueError(f"it does not describe the configuration {strangers[0]!r}")
    said = {name: str(line[name]) for name in ("run", "name", "digest", "reason")}
    alike, counts, seed = bool(line["alike"]), bool(line["counts"]), int(line["seed"])
    return e.Learn(
        **said, seed=seed, alike=alike, counts=counts, configurations=configurations, results=results,
        survivors=survivors,
    )  # fmt: skip


def _learnt(id_: Any, seed: Any, loss: Any, metrics: Mapping[str, Any]) -> InstanceResult:
    numbers = {str(name): float(value) for name, value in metrics.items()}
    return InstanceResult.of(InstanceKey(configuration_id(id_), _whole(seed)), float(loss), metrics=numbers)


def _to_pool(line: Mapping[str, Any], known: Known) -> e.Wave:
    return e.Wave(tuple(_known_by_content(id_, parameters) for id_, parameters in line["configurations"]))


def _known_by_content(id_: Any, parameters: Mapping[str, Any]) -> Configuration:
    """Return a configuration; raises ValueError where its id, which also names files, is not that of its parameters."""
    configuration = Configuration.of(parameters)
    if configuration.id != id_:
        raise ValueError(f"configuration {id_!r} has parameters whose id is {configuration.id!r}")
    return configuration


def _to_tell(line: Mapping[str, Any], known: Known) -> e.Tell:
    result = object.__new__(InstanceResult)
    vars(result).update(  # most lines of a journal are results: to set the fields of a frozen value one by one is slow
        key=_key(line),
        loss=float(line["loss"]),
        status=Status(line["status"]),
        curve=tuple(map(float, line["curve"])),
        test_loss=None if line["test_loss"] is None else float(line["test_loss"]),
        seconds=float(line["seconds"]),
        node=str(line["node"]),
        metrics={str(name): float(value) for name, value in line["metrics"].items()},
        attempt=int(line["attempt"]),
        error=str(line["error"]),
        weights=None,
    )
    return e.Tell(result, Phase(line.get("phase", Phase.RACE)))


def _to_screen(line: Mapping[str, Any], known: Known) -> e.Screen:
    curve = tuple(float(loss) for loss in line["curve"])
    seconds, node = float(line.get("seconds", 0.0)), str(line.get("node", ""))
    return e.Screen(_key(line), float(line["cutoff"]), curve, seconds, node)


def _to_eliminate(line: Mapping[str, Any], known: Known) -> e.Eliminate:
    ids, values = tuple(line["configurations"]), tuple(float(value) for value in line["values"])
    if len(ids) != len(values):
        raise ValueError(f"{len(ids)} configurations have {len(values)} values")
    cut = Elimination(int(line["round"]), float(line["cutoff"]), int(line["n_instances"]), ids, values)
    return e.Eliminate(int(line["wave"]), cut, _seen(line))


def _to_conclude(line: Mapping[str, Any], known: Known) -> e.Conclude:
    verdict = RuleVerdict(
        leader=str(line["winner"]),
        indistinguishable=tuple(line["indistinguishable"]),
        probability=None if line["probability"] is None else float(line["probability"]),
        delta=None if line["delta"] is None else float(line["delta"]),
        certified=None if line["certified"] is None else bool(line["certified"]),
        note=str(line["note"]),
        n_instances=None if line.get("n_instances") is None else _whole(line["n_instances"]),
    )
    return e.Conclude(int(line["wave"]), verdict, _seen(line))


def _seen(line: Mapping[str, Any]) -> int | None:
    return None if line.get("n_seen") is None else _whole(line["n_seen"])


def _to_measured(line: Mapping[str, Any], known: Known) -> e.Measured:
    measured = e.Measured(
        measure=measure_name(line["measure"]),
        configuration_id=configuration_id(line["configuration"]),
        seed=None if line["seed"] is None else _whole(line["seed"]),
        numbers={str(name): float(value) for name, value in line["numbers"].items()},
        tables={str(name): [_row(row) for row in rows] for name, rows in line["tables"].items()},
        n_instances=_whole(line["n_instances"]),
        error=str(line["error"]),
    )
    if measured.seed is not None and not (measured.numbers or measured.error):
        raise ValueError("it says nothing of its instance")
    return measured


def _to_packs(line: Mapping[str, Any], known: Known) -> e.Packs:
    gain = PackGain(_whole(line["width"]), float(line["alone_s"]), float(line["packed_s"]))
    return e.Packs(configuration_id(line["configuration"]), gain, str(line["node"]))


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


def _to_failure(line: Mapping[str, Any], known: Known) -> e.Failure:
    return e.Failure(_key(line), int(line["attempt"]), str(line.get("error", "")), str(line.get("node", "")))


def _to_train(line: Mapping[str, Any], known: Known) -> TrialRequest:
    seeds, phase = tuple(line["seeds"]), Phase(line.get("phase", Phase.RACE))
    return TrialRequest(known[line["configuration"]], seeds, phase, n_seen=_seen(line))


def _to_drop(line: Mapping[str, Any], known: Known) -> e.Drop:
    id_, value = configuration_id(line["configuration"]), float(line["value"])
    known_value = math.nan if math.isnan(value) else value  # the one NaN, so that equal events compare so
    return e.Drop(id_, str(line["reason"]), str(line["by"]), known_value, _whole(line["n_instances"]))


def _to_finalists(line: Mapping[str, Any], known: Known) -> e.Finalists:
    ids = tuple(map(configuration_id, line["configurations"]))
    return e.Finalists(ids, _whole(line["n_finalists"]), _whole(line["n_instances"]))


def _to_separate(line: Mapping[str, Any], known: Known) -> e.Separate:
    id_, best = configuration_id(line["configuration"]), configuration_id(line["best"])
    return e.Separate(id_, _whole(line["n_instances"]), best, float(line["p"]))


def _to_start(line: Mapping[str, Any], known: Known) -> e.Start:
    return e.Start(line["experiment"], int(line.get("version", 1)), str(line.get("raysearch", "")))


_DECODERS: dict[str, Callable[[Mapping[str, Any], Known], Event]] = {
    "start": _to_start,
    "resume": lambda line, known: e.Resume(line.get("experiment", {})),
    "window": lambda line, known: e.Window(_whole(line["width"])),
    "learn": _to_learn,
    "pool": _to_pool,
    "decide": lambda line, known: e.Decide(int(line["round"]), tuple(line["batch"]), _seen(line)),
    "ask": _to_train,
    "tell": _to_tell,
    "failure": _to_failure,
    "lost": lambda line, known: e.Lost(_key(line)),
    "stop": lambda line, known: e.Stop(_key(line)),
    "retry": lambda line, known: e.Retry(_key(line)),
    "screen": _to_screen,
    "eliminate": _to_eliminate,
    "verdict": _to_conclude,
    "final": lambda line, known: e.Final(),
    "finalists": _to_finalists,
    "separate": _to_separate,
    "confirm": lambda line, known: e.Confirm(configuration_id(line["winner"]), _whole(line["n_instances"])),
    "reopen": lambda line, known: e.Reopen(bool(line["whole_pool"])),
    "drop": _to_drop,
    "pause": lambda line, known: e.Pause(bool(line["on"]), str(line["by"])),
    "halt": lambda line, known: e.Halt(bool(line["now"]), str(line["by"])),
    "measure": _to_measured,
    "packs": _to_packs,
}
EVENTS = frozenset(_DECODERS)
"""The names of all events: a line of another name is damage."""
