"""The line of every event in the journal; JSON has no infinity: "inf", "-inf" and "nan" stand for such numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from raysearch.records import Configuration, InstanceKey, TrialRequest
from raysearch.storage import events as e
from raysearch.storage.events import Event

Line = dict[str, Any]
"""An event as plain data: `event` is its name, `t` its time in seconds since 1970."""


def encode(event: Event) -> Line:
    """Return the line of an event; weights are kept elsewhere, cutoffs of a screening follow from what was before."""
    name, fields = _ENCODERS[type(event)]
    return {"event": name, **fields(event)}


def encode_number(value: float) -> float | str:
    """Return a finite `value` itself, another one as "inf", "-inf" or "nan"."""
    return float(value) if math.isfinite(value) else str(float(value))


def _key_of(key: InstanceKey) -> Line:
    return {"configuration": key.configuration_id, "seed": key.seed}


def _numbers(values: Iterable[float]) -> list[float | str]:
    return [encode_number(value) for value in values]


def _tell(event: e.Tell) -> Line:
    result = event.result
    return {
        **_key_of(result.key),
        "status": result.status.value,
        "loss": encode_number(result.loss),
        "test_loss": None if result.test_loss is None else encode_number(result.test_loss),
        "curve": _numbers(result.curve),
        "seconds": round(result.seconds, 6),
        "node": result.node,
        "metrics": _metrics(result.metrics),
        "attempt": result.attempt,
        "error": result.error,
        "phase": event.phase.value,
    }


def _screen(event: e.Screen) -> Line:
    reached = {"cutoff": event.cutoff, "curve": _numbers(event.curve)}
    return {**_key_of(event.key), **reached, "seconds": round(event.seconds, 6), "node": event.node}


def _eliminate(event: e.Eliminate) -> Line:
    cut = event.cut
    return {
        "wave": event.wave,
        "round": cut.round,
        "cutoff": encode_number(cut.cutoff),
        "n_instances": cut.n_instances,
        "configurations": list(cut.configurations),
        "values": _numbers(cut.values),
        **_seen(event),
    }


def _conclude(event: e.Conclude) -> Line:
    own = dataclasses.asdict(event.verdict)
    leader, same = own.pop("leader"), own.pop("indistinguishable")
    if own["probability"] is not None:  # NaN where losses are at the ends of floating point
        own["probability"] = encode_number(own["probability"])
    return {"wave": event.wave, "winner": leader, "indistinguishable": list(same), **own, **_seen(event)}


def _seen(event: e.Eliminate | e.Conclude | e.Decide | TrialRequest) -> Line:
    return {} if event.n_seen is None else {"n_seen": event.n_seen}


def _measured(event: e.Measured) -> Line:
    return {
        "measure": event.measure,
        "configuration": event.configuration_id,
        "seed": event.seed,
        "numbers": {name: encode_number(value) for name, value in event.numbers.items()},
        "tables": {name: [_plain(row) for row in rows] for name, rows in event.tables.items()},
        "n_instances": event.n_instances,
        "error": event.error,
    }


def _packs(event: e.Packs) -> Line:
    gain = event.gain
    seconds = {"alone_s": round(gain.alone_s, 9), "packed_s": round(gain.packed_s, 9)}
    return {"configuration": event.configuration_id, "width": gain.width, **seconds, "node": event.node}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: encode_number(value) if isinstance(value, float) else value for name, value in row.items()}


def _failure(event: e.Failure) -> Line:
    return {**_key_of(event.key), "attempt": event.attempt, "error": event.error, "node": event.node}


def _train(event: TrialRequest) -> Line:
    own = {"configuration": event.configuration.id, "seeds": list(event.seeds), "phase": event.phase.value}
    return {**own, **_seen(event)}


def _drop(event: e.Drop) -> Line:
    said = {"configuration": event.configuration_id, "reason": event.reason, "by": event.by}
    return {**said, "value": encode_number(event.value), "n_instances": event.n_instances}


def _finalists(event: e.Finalists) -> Line:
    wanted = {"n_finalists": event.n_finalists, "n_instances": event.n_instances}
    return {"configurations": list(event.configurations), **wanted}


def _separate(event: e.Separate) -> Line:
    return {"configuration": event.configuration_id, "n_instances": event.n_instances, "best": event.best, "p": event.p}


def _learn(event: e.Learn) -> Line:
    results = [
        [one.key.configuration_id, one.key.seed, encode_number(one.loss), _metrics(one.metrics)]
        for one in event.results
    ]
    return {
        **{name: getattr(event, name) for name in ("run", "name", "seed", "digest", "alike", "counts", "reason")},
        "configurations": _with_parameters(event.configurations),
        "results": results,
        "survivors": list(event.survivors),
    }


def _metrics(metrics: Mapping[str, float]) -> dict[str, float | str]:
    return {name: encode_number(value) for name, value in metrics.items()}


def _with_parameters(configurations: Iterable[Configuration]) -> list[list[Any]]:
    return [[one.id, dict(one.parameters)] for one in configurations]


def _start(event: e.Start) -> Line:
    return {"version": event.version, "raysearch": event.raysearch, "experiment": event.experiment}


_ENCODERS: dict[type, tuple[str, Callable[[Any], Line]]] = {
    e.Start: ("start", _start),
    e.Resume: ("resume", lambda event: {"experiment": event.experiment}),
    e.Window: ("window", lambda event: {"width": event.width}),
    e.Learn: ("learn", _learn),
    e.Wave: ("pool", lambda event: {"configurations": _with_parameters(event.configurations)}),
    e.Decide: ("decide", lambda event: {"round": event.round, "batch": list(event.batch), **_seen(event)}),
    TrialRequest: ("ask", _train),
    e.Tell: ("tell", _tell),
    e.Failure: ("failure", _failure),
    e.Lost: ("lost", lambda event: _key_of(event.key)),
    e.Stop: ("stop", lambda event: _key_of(event.key)),
    e.Retry: ("retry", lambda event: _key_of(event.key)),
    e.Screen: ("screen", _screen),
    e.Eliminate: ("eliminate", _eliminate),
    e.Conclude: ("verdict", _conclude),
    e.Final: ("final", lambda event: {}),
    e.Finalists: ("finalists", _finalists),
    e.Separate: ("separate", _separate),
    e.Confirm: ("confirm", lambda event: {"winner": event.configuration_id, "n_instances": event.n_instances}),
    e.Reopen: ("reopen", lambda event: {"whole_pool": event.whole_pool}),
    e.Drop: ("drop", _drop),
    e.Pause: ("pause", lambda event: {"on": event.on, "by": event.by}),
    e.Halt: ("halt", lambda event: {"now": event.now, "by": event.by}),
    e.Measured: ("measure", _measured),
    e.Packs: ("packs", _packs),
}
