"""How a race stands: its progress for those who watch, and its verdict at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.criteria.objectives import Objective
from raysearch.criteria.summary import summarize
from raysearch.race.dropping import note as dropped_by_people
from raysearch.race.learnt import sentences as learnt
from raysearch.race.race import Race
from raysearch.race.state import State
from raysearch.records import Outcome, ParetoPoint, Phase, Progress, Status, Verdict
from raysearch.rules import Rule, RuleVerdict


def progress(race: Race, elapsed_s: float, told_before: int = 0) -> Progress:
    """Return this moment of a race that this driver has carried out for `elapsed_s` seconds.

    `told_before` results came from an earlier driver and say nothing about this one's speed.
    """
    state = race.state
    told = state.counts["told"]
    expected = max(_expected(race), told)
    row, value = incumbent(state, race.criterion)
    speed = (told - told_before) / elapsed_s if elapsed_s > 0 else 0.0
    return Progress(
        round=state.round,
        n_configurations=len(state.pool.configurations),
        n_survivors=len(state.survivors),
        n_finished=told,
        n_running=len(state.running),
        n_expected=expected,
        incumbent=None if row is None else state.pool.configurations[row],
        incumbent_value=value,
        phase=Phase.CONFIRMATION if state.final else Phase.RACE,
        n_diverged=state.counts[Status.DIVERGED],
        n_failed=state.counts[Status.FAILED],
        n_stopped=state.counts[Status.STOPPED],
        n_retries=max(state.counts["failures"] - state.counts[Status.FAILED], 0),  # the last one is not tried again
        elapsed_s=elapsed_s,
        remaining_s=(expected - told) / speed if speed else None,
    )


def _expected(race: Race) -> int:
    """Return how many instances will have finished at the end: about, as the rule gives the least that it needs."""
    state = race.state
    # only the rule that has been told them knows that lessons leave less to be tried
    rule = race.informed.rule if state.learnt.lessons and len(state.members) else race.rule
    asked = state.counts["asked"] - state.counts[Status.STOPPED] - state.counts["screened"]
    if state.final:
        return asked + race.contest.n_left
    n_new = state.n_new or race.n_configurations or 1
    new = state.members[len(state.members) - state.n_new :]  # the others have their instances from earlier waves
    earlier = 0
    if len(new) < len(state.pool.configurations):
        earlier = int(state.pool.asked.sum() - state.pool.asked[new].sum())
    n_left = max((race.n_configurations or 0) - max(len(state.pool.configurations), n_new), 0)
    waves = [min(n_new, n_left - start) for start in range(0, n_left, n_new)]
    # a budget may be used up by the leader's instances, which are there already
    limited = getattr(race.rule, "budget", None) is not None
    later = sum(size if limited else _least(rule, size) for size in waves)
    return max(earlier + _least(rule, n_new) + later + race.contest.n_left, asked)


def _least(rule: Rule, n_configurations: int) -> int:
    """Return the least number of instances: one each where a budget allows no more, as in a pool opened anew."""
    try:
        return rule.plan(n_configurations)[0]
    except ValueError:
        return n_configurations


def incumbent(state: State, criterion: Criterion) -> tuple[int | None, float]:
    """Return the row and the criterion of the best survivor, by what has finished; (None, NaN) where nothing has.

    Survivors are compared only at the greatest number of instances that any has, so that one lucky loss leads nobody.
    """
    if (row := state.winner) is not None:
        return row, float(criterion(state.pool.judged_losses(row)))
    survivors = state.survivors
    losses = state.pool.losses[survivors]
    if losses.size == 0:
        return None, math.nan
    finished = (~np.isnan(losses)).sum(axis=1)
    most = finished.max()
    if most == 0:
        return None, math.nan
    deepest = (finished == most).nonzero()[0]
    values = np.asarray(criterion(losses[deepest]))
    best = int(values.argmin())
    return int(survivors[deepest[best]]), float(values[best])


def pareto(state: State, objectives: Sequence[Objective]) -> tuple[ParetoPoint, ...]:
    """Return the configurations that no other one beats, best first objective first.

    Each is judged over its race instances that count. Those of few instances look better than they are, above all in
    spread: only configurations with five are compared, or with four, three or two where less than two have as many.
    """
    known = comparable(state.pool.outcomes()) if objectives else []
    values = np.array([[objective.value(outcome) for objective in objectives] for outcome in known])
    front = [i for i, own in enumerate(values) if np.isfinite(own).all() and not _beaten(own, values)]
    front.sort(key=lambda i: tuple(values[i]))
    return tuple(ParetoPoint(known[i].configuration.id, tuple(values[i].tolist()), len(known[i].losses)) for i in front)


def comparable(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of five instances, or of four, three or two where less than two have as many."""
    by_least = [[one for one in outcomes if len(one.losses) >= n_least] for n_least in (5, 4, 3, 2)]
    return next((known for known in by_least if len(known) > 1), by_least[-1])


def _beaten(own: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    """Return whether a row of `values` is nowhere above `own`, and somewhere below it."""
    return bool(((values <= own).all(axis=1) & (values < own).any(axis=1)).any())


def verdict(
    race: Race, criterion_name: str, n_exhaustive: int, objectives: Sequence[Objective] = (), of: str = ""
) -> Verdict:
    """Return how a race ended; raises ValueError while it has no verdict.

    `n_exhaustive` is the number of instances that exhaustive search trains for each configuration; `of` names what was
    judged in place of the loss.
    """
    state = race.state
    end, winner = state.verdict, state.winner
    if end is None or winner is None:
        raise ValueError("the race has no verdict yet")
    fresh = [state.confirmation[index] for index in sorted(state.confirmation)]
    tests = [result.test_loss for result in fresh if result.test_loss is not None]
    ids = [configuration.id for configuration in state.pool.configurations]
    end = end if winner == end.leader else _of_another(end, winner, ids)
    return Verdict(
        winner=state.pool.configurations[winner],
        criterion=criterion_name,
        race=summarize(state.pool.judged_losses(winner), race.criterion),
        n_configurations=len(ids),
        n_instances=state.counts["asked"],
        n_exhaustive=n_exhaustive * len(ids),
        confirmation=summarize([result.loss for result in fresh], race.criterion) if fresh else None,
        test_median=float(np.median(tests)) if tests else None,
        certified=end.certified,
        probability=end.probability,
        delta=end.delta,
        indistinguishable=tuple(ids[row] for row in end.indistinguishable),
        note="; ".join(part for part in (end.note, dropped_by_people(state), *learnt(state)) if part),
        n_epochs=state.counts["epochs"],
        objectives=tuple(objective.label for objective in objectives),
        pareto=pareto(state, objectives),
        survivors=tuple(ids[row] for row in state.survivors),
        n_untrained=int(np.count_nonzero(state.pool.asked == 0)),
        of=of,
        finalists=race.contest.finalists(),
    )


def _of_another(end: RuleVerdict[int], winner: int, ids: Sequence[str]) -> RuleVerdict[int]:
    """Return what a rule's verdict says where another finalist won: what it certified was its leader."""
    stated = (
        "" if end.probability is None or not end.certified else f" (P = {math.floor(1000 * end.probability) / 1000})"
    )
    note = f"what the rule says{stated} is about {ids[end.leader]}, which led the race"
    same = end.indistinguishable if winner in end.indistinguishable else ()
    said = "; ".join(part for part in (end.note, note) if part)
    return replace(end, indistinguishable=same, certified=None, probability=None, delta=None, note=said)


def best_of(verdict: Verdict) -> str:
    """Return what a claim is about: nothing is certified of who was never trained, or dropped before the last race."""
    return "the best of those that raced last" if verdict.n_untrained else "the best"
