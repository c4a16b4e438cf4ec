"""Rows of the live page: which configurations it shows, in which order, with what of their losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.analysis.duel import duel
from raysearch.analysis.live import LiveRace
from raysearch.analysis.results import drawable, text_of
from raysearch.criteria._statistics import quantile
from raysearch.race.state import State

Section = dict[str, Any]
N_ROWS, N_POINTS = 50, 80


def plain(value: float | None) -> float | str | None:
    """Return a number as JSON can hold it."""
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return float(f"{value:.6g}")


def plains(values: Any) -> list[float | str | None]:
    """Return numbers as JSON can hold them."""
    return [plain(float(value)) for value in values]


def id_of(live: LiveRace, row: int) -> str:
    """Return the id of a row's configuration."""
    assert live.race is not None
    return live.race.state.pool.configurations[row].id


def n_finished(state: State, row: int) -> int:
    """Return how many instances of a row count."""
    return int(np.count_nonzero(~np.isnan(state.pool.judged_losses(row))))


def order(live: LiveRace) -> list[int]:
    """Return the first rows as people rank them: leader, other survivors by depth, then who was out last."""
    assert live.race is not None
    state = live.race.state
    moment = duel(live.race)
    first = [] if moment is None else [moment.leader]
    rows = state.survivors
    losses = state.pool.losses[rows]
    finished = np.count_nonzero(~np.isnan(losses), axis=1)
    known = np.flatnonzero(finished)
    if len(known):
        values = np.asarray(live.race.criterion(losses[known]))
        by = np.lexsort((values, -finished[known]))
        first += rows[known[by]][:N_ROWS].tolist()
    for cut in reversed(state.eliminations):
        if len(first) > N_ROWS:
            break
        ranked = sorted(zip(cut.values, cut.configurations, strict=True))
        first += [state.pool.rows[id_] for _, id_ in ranked[: N_ROWS + 1]]
    return list(dict.fromkeys(first))[:N_ROWS]


def labels(live: LiveRace, rows: Sequence[int]) -> list[str]:
    """Return the values in which these configurations differ, on a line each; all of them where there is but one."""
    assert live.race is not None
    own = [live.race.state.pool.configurations[row].parameters for row in rows]
    names = list(dict.fromkeys(name for one in own for name in one))
    several = len({id_of(live, row) for row in rows}) > 1
    differing = [name for name in names if not several or len({repr(one.get(name)) for one in own}) > 1]
    return [", ".join(f"{name}={text_of(one[name])}" for name in differing if name in one)[:160] for one in own]


def boxes(live: LiveRace, rows: Sequence[int]) -> Section:
    """Return the box plots of these rows, what confirmed the winner or a finalist before its race."""
    assert live.race is not None
    state, found = live.race.state, list[Section]()
    for row, text in zip(rows, labels(live, rows), strict=True):
        own = {"id": id_of(live, row), "label": text, "out": not state.pool.alive[row]}
        results = state.confirmations.results.get(row, {})
        if results and row in (state.winner, *state.confirmations.finalists):
            fresh = [result.loss for _, result in sorted(results.items())]
            found.append({**own, "fresh": True, **_box(live, np.asarray(fresh))})
        losses = state.pool.losses[row]
        found.append({**own, "fresh": False, **_box(live, losses[~np.isnan(losses)])})
    return {"boxes": found}


def _box(live: LiveRace, losses: NDArray[np.float64]) -> Section:
    """Return what a box plot needs, as `plots.boxes` draws it: quartiles over all, whiskers to 1.5 IQR, points."""
    assert live.race is not None
    value = float(live.race.criterion(losses)) if len(losses) else math.nan
    shown = drawable(losses)
    q1, median, q3 = (float(quantile(shown, q)) for q in (0.25, 0.5, 0.75))
    reach = 1.5 * (q3 - q1) if math.isfinite(q3) else 0.0
    inside = shown[np.isfinite(shown) & (shown >= q1 - reach) & (shown <= q3 + reach)]
    ends = (float(inside.min()), float(inside.max())) if len(inside) else (q1, q3)
    finite = shown[np.isfinite(shown)]
    points = finite[:: max(1, -(-len(finite) // N_POINTS))]
    return {
        "n": len(losses),
        "n_bad": int(np.isposinf(losses).sum()),
        "five": plains([ends[0], q1, median, q3, ends[1]]),
        "value": plain(float(drawable(value))),
        "points": plains(points),
    }


def table(live: LiveRace, rows: Sequence[int]) -> Section:
    """Return the table of configurations, these rows of it."""
    assert live.race is not None
    state, found = live.race.state, []
    leader = state.winner
    out: Mapping[str, int] = {id_: cut.round for cut in state.eliminations for id_ in cut.configurations}
    for row, text in zip(rows, labels(live, rows), strict=True):
        losses = state.pool.judged_losses(row)
        losses = losses[~np.isnan(losses)]
        if len(losses):
            id_ = id_of(live, row)
            status = "winner" if row == leader else "in the race" if state.pool.alive[row] else "out"
            found.append(
                {
                    "id": id_,
                    "status": status,
                    "n": len(losses),
                    "n_bad": int(np.isposinf(losses).sum()),
                    "value": plain(float(live.race.criterion(losses))),
                    "median": plain(float(quantile(losses, 0.5))),
                    "max": plain(float(losses.max())),
                    "round": out.get(id_) if status == "out" else None,
                    "label": text,
                }
            )
    return {"rows": found, "n_all": len(state.pool.configurations)}
