"""What the confirmation of finalists showed, and where it contradicts the race, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from raysearch.criteria.summary import with_interval
from raysearch.race.race import Race
from raysearch.race.separation import ALPHA
from raysearch.records import Finalist, Verdict

_PLACES = {1: "first", 2: "second", 3: "third"}
_N_FINALISTS = 8


def finalists(race: Race) -> tuple[Finalist, ...]:
    """Return who is confirmed so far, the best first, with the 95 % bootstrap intervals of what they showed."""
    contest, rows = race.contest, race.state.pool.rows
    return tuple(
        replace(one, fresh=with_interval(one.fresh, contest.fresh(rows[one.configuration_id]), race.criterion))
        for one in contest.finalists()
    )


def chosen(verdict: Verdict) -> str:
    """Return who won, among whom, in one sentence."""
    n = verdict.n_configurations
    among = f" among {n:,}" if n > 1 else ", the only one"
    among += f", of which {verdict.n_untrained:,} were never trained" if verdict.n_untrained else ""
    if not overruled(verdict):
        return f"The race chose configuration {verdict.winner.id}{among}."
    first, n_finalists = verdict.finalists[0], len(verdict.finalists)
    return (
        f"The confirmation chose configuration {verdict.winner.id} among the {n_finalists} finalists of a race{among}; "
        f"the race had it {place(first)}."
    )


def overruled(verdict: Verdict) -> bool:
    """Return whether another finalist won than the race's best one."""
    return bool(verdict.finalists) and verdict.finalists[0].place > min(one.place for one in verdict.finalists)


def place(one: Finalist) -> str:
    """Return a finalist's place in the race in words."""
    return _PLACES.get(one.place, f"in place {one.place}")


def sentences(verdict: Verdict) -> list[str]:
    """Return what the finalists showed; nothing where the winner alone was confirmed."""
    if len(verdict.finalists) < 2:
        return []
    others = verdict.finalists[1:]
    out = [one for one in others if one.separated]
    left = [one.configuration_id for one in others if not one.separated]
    found = [
        f"{len(verdict.finalists)} finalists were confirmed on the same fresh seeds, with this {verdict.criterion}: "
        f"{'; '.join(map(_shown, verdict.finalists))}."
    ]
    if out:
        told = f"{len(out)} of them {'is' if len(out) == 1 else 'are'} told from the best"
        found.append(f"{told}, by a paired test that takes out the best one in at most {ALPHA:.0%} of such races.")
    if left:
        found.append(f"On these seeds the winner cannot be told from {', '.join(left)}.")
    found.append("The best of several on the same seeds still looks a little better than it is.")
    return found


def _shown(one: Finalist) -> str:
    interval = "" if one.fresh.interval is None else f" ({' to '.join(map(number, one.fresh.interval))})"
    out = f", told from the best after {one.fresh.n_instances}" if one.separated else ""
    return f"{one.configuration_id} {number(one.fresh.criterion)}{interval}, {place(one)} in the race{out}"


def number(value: float | None) -> str:
    """Return a number as people read it: four significant digits, `-` for none; +inf has diverged or failed."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:+}" if math.isinf(value) else f"{value:.4g}"


def contradiction(verdict: Verdict, interval: Sequence[float] | None) -> str:
    """Return in one sentence where the confirmation contradicts the race; nothing where it does not."""
    if verdict.confirmation is None:
        return ""
    if overruled(verdict):
        best = min(verdict.finalists, key=lambda one: one.place)
        told = "and is told from it" if best.separated else "though these seeds cannot tell them apart"
        return (
            f"The confirmation contradicts the race: {best.configuration_id}, which led it, is worse on fresh seeds "
            f"than {verdict.winner.id}, {told}."
        )
    race, fresh = verdict.race.criterion, verdict.confirmation.criterion
    lost = math.isinf(fresh) and math.isfinite(race)
    if not lost and (interval is None or not race < interval[0]):
        return ""
    least = "" if interval is None or lost else f", at least {number(interval[0])}"
    return (
        f"The confirmation contradicts the race: the winner's {verdict.criterion} of {number(race)} there is "
        f"{number(fresh)} on fresh seeds{least}."
    )


def command(verdict: Verdict, interval: Sequence[float] | None, run_dir: Path) -> str:
    """Return the command that goes on from a confirmation that contradicts the race, with why; nothing elsewhere."""
    if not contradiction(verdict, interval) or verdict.confirmation is None:
        return ""
    n_trained, n = verdict.n_configurations - verdict.n_untrained, len(verdict.finalists)
    resume = f"raysearch resume {run_dir} --set"
    left = [one for one in verdict.finalists[1:] if not one.separated]
    if n < 2 and n_trained > 1:
        return f"`{resume} race.finalists={_N_FINALISTS}` confirms those that lasted longest on the same seeds"
    if left:
        more = 2 * verdict.confirmation.n_instances
        return f"`{resume} race.confirm={more}` trains more fresh instances of those that cannot be told apart"
    if n_trained > n > 1:
        return f"`{resume} race.finalists={2 * n}` confirms more of those that lasted longest"
    return ""
