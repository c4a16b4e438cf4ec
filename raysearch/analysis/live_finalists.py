"""The live page's table of finalists: who is confirmed on the same fresh seeds, and how it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from raysearch.analysis.live import LiveRace
from raysearch.analysis.live_rows import labels, plain
from raysearch.criteria.intervals import bounds
from raysearch.race.race import Race
from raysearch.records import Finalist

Section = dict[str, Any]
N_FINALISTS = 24


def finalists(live: LiveRace) -> Section:
    """Return the finalists, best first, with what they showed so far; `n_wanted` is 0 where the winner stands alone."""
    race = live.race
    assert race is not None
    own, pool = race.state.confirmations, race.state.pool
    found = [_row(live, race, one) for one in race.contest.finalists()[:N_FINALISTS]]
    known = {one["id"] for one in found}
    for place, row in enumerate(own.finalists, start=1):
        if row not in race.state.dropped and pool.id(row) not in known:
            unknown: Section = dict.fromkeys(("value", "low", "high", "raced", "p"))
            raced = plain(float(race.criterion(pool.judged_losses(row))))
            waiting = {"id": pool.id(row), "place": place, "status": "to be confirmed", "n": 0, "n_bad": 0}
            found.append({**unknown, **waiting, "raced": raced})
    found = found[:N_FINALISTS]
    for one, text in zip(found, labels(live, [pool.rows[one["id"]] for one in found]), strict=True):
        one["label"] = text
    wanted: Mapping[str, Any] = live.experiment["race"]
    n_wanted = int(wanted.get("finalists", 1))  # journals of 0.1.0 have none
    return {
        "rows": found,
        "n": len(own.finalists),
        "n_wanted": max(len(own.finalists), n_wanted if n_wanted > 1 else 0),
        "n_instances": own.n_instances or int(wanted["confirm"]),
        "chosen": own.winner is not None,
    }


def _row(live: LiveRace, race: Race, one: Finalist) -> Section:
    row = race.state.pool.rows[one.configuration_id]
    losses = race.contest.fresh(row)
    low, high = _bounds(live, losses) or (math.nan, math.nan)
    return {
        "id": one.configuration_id,
        "place": one.place,
        "n": one.fresh.n_instances,
        "n_bad": sum(map(math.isinf, losses)),
        "value": plain(one.fresh.criterion),
        "low": plain(low),
        "high": plain(high),
        "raced": plain(one.race.criterion),
        "status": _status(race, row, one),
        "p": plain(one.p),
    }


def _status(race: Race, row: int, one: Finalist) -> str:
    winner = race.state.confirmations.winner
    if row == winner:
        return "winner"
    if one.separated:
        return f"told from the best after {one.fresh.n_instances}"
    return "being confirmed" if winner is None else "not told from the winner"


def _bounds(live: LiveRace, losses: list[float]) -> tuple[float, float] | None:
    """Return an interval; most of the many views change none of them."""
    assert live.race is not None
    key = tuple(losses)
    if key not in live.intervals:
        live.intervals[key] = bounds(losses, live.race.criterion)
    return live.intervals[key]
