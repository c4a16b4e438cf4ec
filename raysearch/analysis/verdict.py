"""How a race ended, in sentences that the report and the command line share; no claim is made that was not earned."""

from __future__ import annotations

import math

import numpy as np

from raysearch.analysis import finalists
from raysearch.analysis.results import Results
from raysearch.analysis.savings import Savings, count, savings, sentence
from raysearch.criteria.intervals import Interval, confidence_interval
from raysearch.race.verdict import best_of
from raysearch.records import Phase, Verdict


def spending(results: Results) -> Savings:
    """Return what the race of `results` spent; the verdict knows what exhaustive search would take."""
    verdict = results.verdict
    if verdict is None:
        return savings(results.instances)
    n = verdict.n_configurations
    return savings(results.instances, n_configurations=n, n_each=verdict.n_exhaustive // n if n else None)


def winners_interval(results: Results, *, level: float = 0.95, seed: int = 0) -> Interval | None:
    """Return the interval of the leader's criterion over its confirmation instances, else over its race ones."""
    if results.leader is None:
        return None
    fresh = results.losses(results.leader, Phase.CONFIRMATION)
    losses = fresh if len(fresh) else results.losses(results.leader)
    return confidence_interval(losses, results.criterion, np.random.default_rng(seed), level=level)


def optimism(verdict: Verdict) -> float | None:
    """Return by which share of the confirmed criterion the race was too optimistic; None where it cannot be told."""
    if verdict.confirmation is None:
        return None
    confirmed, race = verdict.confirmation.criterion, verdict.race.criterion
    if not (math.isfinite(confirmed) and math.isfinite(race)) or confirmed == 0:
        return None
    share = (confirmed - race) / abs(confirmed)
    return share if math.isfinite(share) else None


def sentences(results: Results, spent: Savings, interval: Interval | None) -> list[str]:
    """Return the verdict in words, most important first."""
    if results.verdict is None:
        return _open(results, spent)
    verdict = results.verdict
    found = [finalists.chosen(verdict), *_quality(results, verdict, interval), *finalists.sentences(verdict)]
    known = None if interval is None or not interval.known else (interval.low, interval.high)
    found += [said] if (said := finalists.contradiction(verdict, known)) else []
    if verdict.test_median is not None:
        found.append(f"The median test {verdict.of or 'loss'} of those instances is {number(verdict.test_median)}.")
    found += [certainty(verdict), *_alike(verdict), sentence(spent)]
    return [*found, verdict.note] if verdict.note else found


def _open(results: Results, spent: Savings) -> list[str]:
    found = ["The race has not finished: no configuration has been chosen, and the leader below may still change."]
    if results.leader is not None:
        row = results.table.iloc[0]
        n_left = int((results.table["status"] == "survivor").sum())
        found.append(
            f"{count(n_left, 'configuration')} of {len(results.ids):,} left; configuration {results.leader} leads with "
            f"{results.criterion_name} {number(row['criterion'])} over {count(int(row['n_instances']), 'instance')}: "
            "likely too optimistic, as it is the best of many."
        )
    return [*found, sentence(spent)]


def _quality(results: Results, verdict: Verdict, interval: Interval | None) -> list[str]:
    name, race, fresh = results.criterion_name, verdict.race, verdict.confirmation
    if fresh is None or not fresh.n_instances:
        return [
            f"Its {name} over the {count(race.n_instances, 'instance')} that chose it is {number(race.criterion)}"
            f"{_range(interval)}: likely too optimistic, since no fresh instances confirmed it."
        ]
    found = [
        f"Over {count(fresh.n_instances, 'fresh instance')} that the race never saw, its {name} is "
        f"{number(fresh.criterion)}{_range(interval)}."
    ]
    bias = optimism(verdict)
    of = "it was judged by" if finalists.overruled(verdict) else "that chose it"
    said = f"The race, over the {count(race.n_instances, 'instance')} {of}, had said {number(race.criterion)}"
    if bias is None:
        found.append(f"{said}.")
    elif bias > 0 and interval is not None and interval.low <= race.criterion:
        found.append(f"{said}: {bias:.1%} better, no more than the interval allows.")
    elif bias > 0:
        found.append(f"{said}: {bias:.1%} too optimistic, as the best of many tends to look.")
    else:
        found.append(f"{said}: no optimism shows.")
    bad = int(np.isposinf(results.losses(verdict.winner.id, Phase.CONFIRMATION)).sum())
    if bad:
        found.append(
            f"{bad:,} of the {count(fresh.n_instances, 'fresh instance')} diverged or failed; they count as +inf."
        )
    if not math.isfinite(fresh.criterion):
        found.append("So this is no choice to rely on: too many of its trainings end without a usable model.")
    return found


def _range(interval: Interval | None) -> str:
    if interval is None or not interval.known:
        return ""
    beyond = ", at an extreme beyond which resampling cannot see" if interval.extreme else ""
    return f" ({interval.level:.0%} interval {number(interval.low)} to {number(interval.high)}{beyond})"


def certainty(verdict: Verdict) -> str:
    """Return how sure the rule is of its choice, in one sentence."""
    known = verdict.probability is not None and math.isfinite(verdict.probability)
    stated = f"P = {cut(verdict.probability)}" if known and verdict.probability else "P = 0"
    best = best_of(verdict)
    within = f" that it is within {100 * verdict.delta:.3g} % of {best}" if verdict.delta is not None else ""
    if finalists.overruled(verdict):
        return "No confidence is stated of it: fresh seeds chose it, not the rule."
    if verdict.certified is None:
        return "The rule states no confidence: it names a winner, not how sure that is."
    if verdict.certified:
        return f"Certified: {stated}{within}." if known else "Certified by the rule."
    return f"Not certified: {stated}{within}." if known else "Not certified by the rule."


def _alike(verdict: Verdict) -> list[str]:
    others = [name for name in verdict.indistinguishable if name != verdict.winner.id]
    if not others:
        return []
    listed = ", ".join(others[:12]) + (f" and {len(others) - 12:,} more" if len(others) > 12 else "")
    return [f"The rule cannot tell it apart from {count(len(others), 'other configuration')}: {listed}."]


def cut(probability: float) -> str:
    """Return a probability with three digits, cut and not rounded: .9996 must not read as certainty."""
    if not math.isfinite(probability):
        return "unknown"
    return f"{math.floor(probability * 1000) / 1000:.3f}"


def number(value: object) -> str:
    """Return a number with four significant digits; +inf as `+inf`, NaN and None as a dash."""
    if value is None or not isinstance(value, int | float | np.number) or math.isnan(float(value)):
        return "–"
    if isinstance(value, int | np.integer):
        return str(value)
    return ("+inf" if value > 0 else "-inf") if math.isinf(float(value)) else f"{float(value):#.4g}"
