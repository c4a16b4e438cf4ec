"""Policies that `selection.py` compares: each plays a table at several budgets and answers which row it chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import _selection_peers as peers
import numpy as np
from _selection_families import Family, Table
from numpy.typing import NDArray

from raysearch import registry
from raysearch.driver import search as in_python
from raysearch.rules import Rule, RuleVerdict
from raysearch.rules._informed import STEPS


@dataclass(frozen=True)
class Outcome:
    """A policy's answer on one table; `claimed` is its own probability of being within delta, if it states one.

    `best`: where a policy claims something of some rows only, the truth of the best of these and of other sets.
    """

    policy: str
    setting: str
    n_instances: int
    row: int
    claimed: float | None = None
    certified: bool = False
    best: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """An outcome against the truth; `right`: whether it is within delta of the best of each set of rows of `best`."""

    family: str
    replicate: int
    outcome: Outcome
    is_best: bool
    is_within: bool
    regret: float
    right: dict[str, bool] = field(default_factory=dict)


Policy = Callable[[Table, Family], Iterator[Outcome]]


def score(family: Family, replicate: int, policies: dict[str, Policy]) -> list[Score]:
    """Play every policy on one table."""
    table = family.table(replicate)
    scores = []
    for policy in policies.values():
        for outcome in policy(table, family):
            regret, truth = table.regret(outcome.row), float(table.truth[outcome.row])
            right = {name: truth / best - 1 <= family.delta for name, best in outcome.best.items()}
            scores.append(Score(family.name, replicate, outcome, regret == 0, regret <= family.delta, regret, right))
    return scores


Watch = Callable[[int, NDArray[np.float64]], None]


def drive(rule: Rule, table: Table, criterion: Any, watch: Watch | None = None) -> tuple[RuleVerdict, int]:
    """Let a rule decide on one worker; returns its verdict and the number of instances trained.

    `watch` sees the number of instances and the matrix before every decision. A rule that asks for more instances than
    a table holds, as a recorded one has few, gets the first ones again.
    """
    n_held = table.losses.shape[1]
    seen = np.full((len(table.losses), n_held), np.nan)
    started = np.zeros(len(seen), dtype=np.intp)
    idle = np.zeros(len(seen), dtype=np.intp)
    width = 1
    while True:
        if watch is not None:
            watch(int(started.sum()), seen[:, :width])
        decision = rule.decide(seen[:, :width], idle, criterion)
        if decision.verdict is not None:
            return decision.verdict, int(started.sum())
        for row in decision.train:
            if started[row] == seen.shape[1]:
                seen = np.hstack([seen, np.full_like(table.losses, np.nan)])
            seen[row, started[row]] = table.losses[row, started[row] % n_held]
            started[row] += 1
        width = max(width, int(started.max()))


def exhaustive(table: Table, family: Family) -> Iterator[Outcome]:
    """The same number of instances of everything."""
    n_most = {6912: 5}.get(family.n_configurations, 30)
    for n in (1, 2, 3, 5, 7, 10, 15, 20, 30):
        if n <= min(n_most, table.losses.shape[1]):
            row = int(np.argmin(family.measure()(table.losses[:, :n])))
            yield Outcome("exhaustive", f"n={n}", n * len(table.losses), row)


def halving(table: Table, family: Family) -> Iterator[Outcome]:
    """Algorithm 1, exactly."""
    for warmup in (1, 2, 3, 4, 5, 6, 8, 10, 11, 14, 20):
        rule = registry.load("rules", "halving", warmup=warmup)
        verdict, n = drive(rule, table, family.measure())
        if n != rule.plan(len(table.losses))[0]:
            raise AssertionError(f"Algorithm 1 trained {n} instances where it is published to train {rule.plan}")
        yield Outcome("halving", f"warmup={warmup}", n, verdict.leader)


def significance(table: Table, family: Family) -> Iterator[Outcome]:
    """The authors' improved rule at its defaults, for three warm-ups; the location test that fits the criterion."""
    test = "welch" if family.criterion == "mean" else "mann_whitney"
    for warmup in (2, 3, 5):
        verdict, n = drive(registry.load("rules", "significance", test=test, warmup=warmup), table, family.measure())
        yield Outcome("significance", f"{test}, warmup={warmup}", n, verdict.leader)


def budgets(family: Family) -> list[int]:
    """Return the ladder of fixed budgets."""
    if family.n_configurations > 1000:
        shares = [1.05, 1.1, 1.18, 1.25, 1.35, 1.402, 1.5]
    else:
        shares = [1.37, 1.55, 1.737, 1.96, 2.2, 2.5, 3, 4, 5, 6]
    return [int(family.n_configurations * share) for share in shares]


def sequential_halving(table: Table, family: Family) -> Iterator[Outcome]:
    """A fixed budget, halved."""
    for budget in budgets(family):
        verdict, n = drive(registry.load("rules", "sequential_halving", budget=budget), table, family.measure())
        yield Outcome("sequential_halving", f"budget={budget}", n, verdict.leader)


def top_two(table: Table, family: Family) -> Iterator[Outcome]:
    """The certified rule: where it stops itself, and what it answers if a budget ends it before that."""
    criterion, cap = family.measure(), min(100, family.n_instances)
    rule = registry.load("rules", "top_two", delta=family.delta, cap=cap)
    idle = np.zeros(len(table.losses), dtype=np.intp)
    cut_off: dict[int, RuleVerdict | None] = {}

    def watch(n_trained: int, seen: NDArray[np.float64]) -> None:
        # up to its end a budget changes nothing, so one run answers for the whole ladder
        if n_trained in ladder:
            cut_off[n_trained] = replace(rule, budget=n_trained).decide(seen, idle, criterion).verdict

    ladder = set(budgets(family))
    verdict, n = drive(rule, table, criterion, watch)
    yield Outcome("top_two", "certified", n, verdict.leader, verdict.probability, bool(verdict.certified))
    for budget in sorted(ladder):
        answer, spent = (verdict, n) if budget >= n else (cut_off.get(budget), budget)
        if answer is None:  # the budget ends within a round
            answer, spent = drive(replace(rule, budget=budget), table, criterion)
        yield Outcome("top_two", f"budget={budget}", spent, answer.leader, answer.probability, bool(answer.certified))


def default(n_configurations: int) -> dict[str, Any]:
    """Return the parameters of `top_two` in `raysearch.search` where no rule is named."""
    return {"budget": in_python.EACH * n_configurations + in_python.CERTIFY}


def top_two_default(table: Table, family: Family) -> Iterator[Outcome]:
    """The default of `raysearch.search`: certified, ended at about the cost of Algorithm 1."""
    rule = registry.load("rules", "top_two", delta=family.delta, **default(family.n_configurations))
    verdict, n = drive(rule, table, family.measure())
    yield Outcome(
        "top_two, default", "as search sets it", n, verdict.leader, verdict.probability, bool(verdict.certified)
    )


def surrogate(table: Table, family: Family) -> Iterator[Outcome]:
    """The rule that learns from hyperparameters, where a family has them: where it stops itself, and by budgets."""
    parameters = getattr(table, "parameters", ())
    if len(parameters) != len(table.losses):
        return
    shares = () if len(parameters) > 2000 else (0.15, 0.2, 0.25, 0.3, 0.35, 0.45)  # a search of 6,912 takes minutes
    limits = [None, *(int(share * len(parameters)) for share in shares)]
    for budget in [one for one in limits if one is None or one >= 150]:
        rule = registry.load("rules", "surrogate", delta=family.delta, budget=budget)
        # the table's rows are shuffled anew in each replicate: one seed for the rule's own draws is enough
        n_seen = np.zeros(len(parameters), dtype=np.intp)

        def watch(_: int, seen: NDArray[np.float64], n_seen: NDArray[np.intp] = n_seen) -> None:
            n_seen[:] = np.count_nonzero(~np.isnan(seen), axis=1)

        verdict, n = drive(rule.informed(parameters, 0), table, family.measure(), watch)
        setting = "certified" if budget is None else f"budget={budget}"
        sets = {"raced last": n_seen > STEPS, "trained": n_seen > 0}
        best = {name: float(table.truth[rows].min()) for name, rows in sets.items() if rows.any()}
        yield Outcome("surrogate", setting, n, verdict.leader, verdict.probability, bool(verdict.certified), best)


OWN: dict[str, Policy] = {
    "exhaustive": exhaustive,
    "halving": halving,
    "significance": significance,
    "sequential_halving": sequential_halving,
    "top_two": top_two,
    "top_two_default": top_two_default,
    "surrogate": surrogate,
}
PEERS: dict[str, Policy] = {
    "ray_repeater": lambda table, family: _named("ray Repeater, mean", peers.repeater(table, family)),
    "one_epoch": lambda table, family: _named("one epoch, then the best", peers.one_epoch(table, family)),
    "optuna_tpe": lambda table, family: _named("optuna TPE", peers.tpe(table, family)),
    "optuna_wilcoxon": lambda table, family: _named("optuna WilcoxonPruner", peers.wilcoxon(table, family)),
}


def _named(name: str, answers: Iterator[tuple[str, int, int]]) -> Iterator[Outcome]:
    for setting, n_instances, row in answers:
        yield Outcome(name, setting, n_instances, row)
