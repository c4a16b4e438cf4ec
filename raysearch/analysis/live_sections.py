"""What the live page shows of a race, as plain data: one section each, so that only what changed is sent.

Numbers go out with six digits, NaN as null and infinity as "inf". Whatever is long is cut: the page stays small.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.analysis import live_finalists
from raysearch.analysis.duel import duel
from raysearch.analysis.finalists import chosen, finalists
from raysearch.analysis.finalists import sentences as about_finalists
from raysearch.analysis.live import LiveRace
from raysearch.analysis.live_rows import boxes, id_of, labels, n_finished, order, plain, plains, table
from raysearch.analysis.results import drawable, text_of
from raysearch.analysis.verdict import certainty
from raysearch.criteria.objectives import label
from raysearch.race.state import State
from raysearch.race.verdict import verdict
from raysearch.records import InstanceKey, Phase, Status
from raysearch.rules import Elimination

Section = dict[str, Any]
N_BOXES, N_RUNNING, N_LEFT, N_KINDS, N_MOMENTS = 8, 40, 60, 12, 240


def sections(
    live: LiveRace, more: Mapping[str, Any] | None = None, only: Sequence[str] | None = None
) -> dict[str, Section]:
    """Return sections by name, all or `only` some; `more` is what the head says beside what the journal knows."""
    if live.race is None:
        return {"head": {"state": "empty", "name": live.path.parent.name, "read": live.share, **(more or {})}}
    state = live.race.state
    first = order(live) if only is None else []
    made: dict[str, Callable[[], Section]] = {
        "head": lambda: {**_head(live), **(more or {})},
        "now": lambda: _now(live),
        "rounds": lambda: _rounds(state),
        "duel": lambda: _duel(live),
        "boxes": lambda: boxes(live, first[:N_BOXES]),
        "finalists": lambda: live_finalists.finalists(live),
        "running": lambda: _running(live),
        "left": lambda: _left(live),
        "failures": lambda: _failures(live),
        "table": lambda: table(live, first),
        "verdict": lambda: _verdict(live),
    }
    with np.errstate(over="ignore", invalid="ignore"):  # losses at the ends of floating point
        return {name: make() for name, make in made.items() if only is None or name in only}


def _head(live: LiveRace) -> Section:
    assert live.race is not None
    state, driven = live.race.state, live.driven
    stands = "finished" if live.race.done else "broken off" if driven is False else live.asked or "running"
    return {
        "state": stands if live.caught_up else "reading",
        "read": round(live.share, 2),
        "name": str(live.experiment.get("name") or live.path.parent.name),
        "criterion": label(live.experiment["criterion"]),
        "rule": label(live.experiment["rule"]),
        "sampler": label(live.experiment["sampler"]),
        "run_dir": str(live.path.parent),
        "round": state.round,
        "phase": "confirmation" if state.final else "race",
        "changed": live.changed,
        "tracker": None if live.experiment["tracking"] is None else label(live.experiment["tracking"]),
        "report": (live.path.parent / "report.html").is_file(),
    }


def _now(live: LiveRace) -> Section:
    assert live.race is not None
    now = live.progress(time.time() if live.driven else None)
    moment = duel(live.race)
    best = None if moment is None else live.race.state.pool.configurations[moment.leader]
    return {
        "leader": None if best is None else best.id,
        "parameters": {} if best is None else {k: text_of(v) for k, v in best.parameters.items()},
        "value": None if moment is None else plain(moment.value),
        "n": 0 if moment is None else n_finished(live.race.state, moment.leader),
        "rival": None if moment is None or moment.rival is None else id_of(live, moment.rival),
        "rival_value": None if moment is None else plain(moment.rival_value),
        "probability": None if moment is None else plain(moment.probability),
        "delta": getattr(live.race.rule, "delta", None),
        "n_survivors": now.n_survivors,
        "n_configurations": now.n_configurations,
        "n_finished": now.n_finished,
        "n_expected": now.n_expected,
        "n_running": now.n_running,
        "n_exhaustive": int(live.experiment["race"]["exhaustive"]) * now.n_configurations,
        "n_epochs": live.race.state.counts["epochs"],
        "n_diverged": now.n_diverged,
        "n_failed": now.n_failed,
        "n_stopped": now.n_stopped,
        "n_retries": now.n_retries,
        "elapsed_s": round(now.elapsed_s, 1),
        "remaining_s": None if now.remaining_s is None or live.race.done else round(now.remaining_s, 1),
    }


def _rounds(state: State) -> Section:
    """Survivors by round: of the rounds that a cut has ended, and of the one that is open."""
    ended = [[round_, len(rows), n] for round_, n, rows in state.rounds]
    last = [[state.round, len(state.survivors), None]] if not ended or state.round > ended[-1][0] else []
    return {"rounds": [*ended, *last], "n_all": len(state.pool.configurations)}


def _duel(live: LiveRace) -> Section:
    assert live.race is not None
    now = duel(live.race)
    moments = [*live.trace.moments, *([] if now is None else [now])]
    step = max(1, -(-len(moments) // N_MOMENTS))
    kept = moments[::-1][::step][::-1]  # the last one always
    values = drawable([[moment.value, moment.rival_value] for moment in kept]) if kept else np.empty((0, 2))
    return {
        "moments": [
            [m.n_told, plain(own), plain(rival), plain(m.probability), id_of(live, m.leader)[:6]]
            for m, (own, rival) in zip(kept, values.tolist(), strict=True)
        ],
        "stated": any(moment.probability is not None for moment in kept),
        "confidence": getattr(live.race.rule, "confidence", None),
        "delta": getattr(live.race.rule, "delta", None),
    }


def _running(live: LiveRace) -> Section:
    """Return what runs, since when, and the last curves of its configurations: its own come when it ends."""
    assert live.race is not None
    state = live.race.state
    keys = sorted(state.running, key=lambda key: live.handed_out.get(key, math.inf))
    shown = keys[:N_RUNNING]
    rows = [state.pool.rows[key.configuration_id] for key in shown]
    texts = dict(zip(rows, labels(live, rows), strict=True))
    ids = list(dict.fromkeys(key.configuration_id for key in shown))[:4]
    typical = float(np.median(live.seconds)) if live.seconds else math.nan
    return {
        "n": len(keys),
        "typical_s": plain(typical),
        "rows": [
            {
                **_named(state, key),
                "label": texts[state.pool.rows[key.configuration_id]],
                "since": live.handed_out.get(key),
                "attempt": state.attempts[key] + 1,
            }
            for key in shown
        ],
        "curves": [
            {"id": id_, "curves": [plains(drawable(_thin(curve))) for curve in live.curves[id_]]}
            for id_ in ids
            if id_ in live.curves
        ],
        "epochs": max((len(curve) for id_ in ids for curve in live.curves.get(id_, ())), default=0),
    }


def _thin(curve: NDArray[np.float32], n: int = 60) -> NDArray[np.float64]:
    at = np.unique(np.linspace(0, len(curve) - 1, min(n, len(curve))).astype(int))
    return np.asarray(curve[at], dtype=float)


def _named(state: State, key: InstanceKey) -> Section:
    phase, index = state.seeds.index(key.seed)
    return {"id": key.configuration_id, "seed": key.seed, "instance": index, "fresh": phase is Phase.CONFIRMATION}


def _left(live: LiveRace) -> Section:
    """Return who is out and why, the last ones first."""
    assert live.race is not None
    state = live.race.state
    name, rows = label(live.experiment["criterion"]), list[Section]()
    for cut in reversed(state.eliminations):
        for value, id_ in sorted(zip(cut.values, cut.configurations, strict=True), reverse=True):
            rows.append({"id": id_, "at": live.out_at.get(id_), "value": plain(value), "why": why(cut, name)})
            if len(rows) >= N_LEFT:
                break
        if len(rows) >= N_LEFT:
            break
    texts = labels(live, [state.pool.rows[row["id"]] for row in rows])
    n = sum(len(cut.configurations) for cut in state.eliminations)
    return {"n": n, "rows": [{**row, "label": text} for row, text in zip(rows, texts, strict=True)]}


def why(cut: Elimination[str], criterion: str) -> str:
    """Return in words why the configurations of a cut are out."""
    if cut.reason:
        return cut.reason
    if not cut.round:
        return f"its first instance ended early: its loss was above {cut.cutoff:.4g}"
    if not cut.n_instances:
        return f"round {cut.round}: never trained, as its neighbours in the space did not speak for it"
    n = "its instance" if cut.n_instances == 1 else f"{cut.n_instances} instances"
    return f"round {cut.round}: {criterion} over {n} above the cutoff {cut.cutoff:.4g}"


def _failures(live: LiveRace) -> Section:
    assert live.race is not None
    groups = [group for group in live.failures.values() if group.keys]
    groups.sort(key=lambda group: (group.status is not Status.FAILED, -len(group.keys)))
    return {
        "n_kinds": len(groups),
        "groups": [
            {
                "status": group.status.value,
                "line": group.line,
                "n": len(group.keys),
                "error": group.error if "\n" in group.error else "",
                "examples": [
                    {**_named(live.race.state, key), "node": node, "attempt": attempt}
                    for key, node, attempt in group.examples
                ],
            }
            for group in groups[:N_KINDS]
        ],
    }


def _verdict(live: LiveRace) -> Section:
    """Return how the race ended, in words; nothing before."""
    race = live.race
    assert race is not None
    if not race.done or race.state.verdict is None:
        return {"sentences": []}
    name = label(live.experiment["criterion"])
    end = verdict(race, name, int(live.experiment["race"]["exhaustive"]))
    end = replace(end, finalists=finalists(race)) if end.finalists else end
    said = [chosen(end)]
    if end.confirmation is not None:
        fresh, before = end.confirmation, end.race
        said.append(
            f"Over {fresh.n_instances:,} fresh instances its {name} is {fresh.criterion:.4g}; over the "
            f"{before.n_instances:,} of the race, it had been {before.criterion:.4g}."
        )
    said += [*about_finalists(end), certainty(end), *([end.note] if end.note else [])]
    return {"sentences": said, "winner": end.winner.id}
