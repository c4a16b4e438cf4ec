"""Rule `surrogate`: what it trains, that it decides alike however it is carried out, and what it claims of whom."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from races import Memory, drive, image, outcome, result_of, trials

from raysearch import registry
from raysearch.analysis.verdict import certainty
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.replay import of_matrix, simulate
from raysearch.race.race import Race
from raysearch.race.verdict import verdict
from raysearch.records import Configuration
from raysearch.rules import Decision
from raysearch.rules._encoding import Encoding
from raysearch.rules._surface import Surface
from raysearch.rules._targets import Learnt, Scale, spread_of
from raysearch.tracking.silent import Silent

SETTINGS: dict[str, Any] = {"start": 24, "finalists": 6, "batch": 8, "certify": 8, "cap": 30, "delta": 0.03}
VALUES = {
    "lr": [1e-4, 1e-3, 1e-2, 1e-1, 1.0],
    "width": [16, 32, 64, 128],
    "activation": ["ReLU", "Tanh", "SiLU"],
    "optimizer": ["SGD", "AdamW"],
    "momentum": [0.5, 0.9],
}


def space() -> list[dict[str, Any]]:
    """Return 180 configurations; momentum is SGD's alone."""
    every = (dict(zip(VALUES, values, strict=True)) for values in itertools.product(*VALUES.values()))
    return [
        {name: value for name, value in one.items() if name != "momentum" or one["optimizer"] == "SGD"}
        for one in every
        if one["optimizer"] == "SGD" or one["momentum"] == 0.5
    ]


def level(one: dict[str, Any]) -> float:
    """Return the logarithm of a configuration's loss: main effects, a pair, and what nobody can learn."""
    own = np.random.default_rng(int(Configuration.of(one).id, 16)).normal(0, 0.02)
    lr = abs(math.log10(one["lr"]) + 2)
    pair = 0.3 * (one["activation"] == "Tanh") * (one["width"] < 64)
    return float(0.3 * lr + pair - 0.1 * math.log2(one["width"] / 16) - 0.2 * (one.get("momentum") == 0.9) + own)


SPACE = space()
TRUTH = np.exp([level(one) for one in SPACE])
NOISE = np.random.default_rng(1).normal(0, 0.05, (len(SPACE), 80))
LOSSES = TRUTH[:, None] * np.exp(NOISE)
POOL = [Configuration.of(one) for one in SPACE]


def race_of(losses: Any = LOSSES, pool: Any = POOL, criterion: Any = "median", **settings: Any) -> Race:
    rule = {**SETTINGS, **settings.pop("rule", {})}
    return Race(
        lambda outcomes: [] if outcomes else pool,
        registry.load("criteria", criterion),
        registry.load("rules", "surrogate", **rule),
        seed=3,
        **settings,
    )


def play(losses: Any = LOSSES, criterion: Any = "median", parameters: Any = SPACE, **settings: Any) -> Any:
    """Drive the rule on one worker; returns its verdict, the instances of each row, and its decisions."""
    rule = registry.load("rules", "surrogate", **{**SETTINGS, **settings}).informed(parameters, 3)
    measure, seen = registry.load("criteria", criterion), np.full_like(losses, np.nan)
    started, decisions = np.zeros(len(losses), dtype=np.intp), []
    while True:
        visible = seen[:, : started.max(initial=0)]
        decision: Decision = rule.decide(visible, np.zeros(len(losses), dtype=np.intp), measure)
        decisions.append(decision)
        if decision.verdict is not None:
            return decision.verdict, started, decisions
        assert decision.train
        for row in decision.train:
            seen[row, started[row]] = losses[row, started[row]]
            started[row] += 1


def test_it_trains_what_neighbours_speak_for_and_finds_the_best() -> None:
    end, started, _ = play()
    assert TRUTH[end.leader] <= 1.03 * TRUTH.min()
    assert end.certified
    assert np.count_nonzero(started) < 0.6 * len(SPACE)
    good, bad = np.argsort(TRUTH)[:18], np.argsort(TRUTH)[-90:]
    assert (started[good] > 0).mean() > 2 * (started[bad] > 0).mean()


def test_shuffled_hyperparameters_teach_nothing_and_more_is_trained() -> None:
    shuffled = [SPACE[row] for row in np.random.default_rng(0).permutation(len(SPACE))]
    _, started, _ = play(parameters=shuffled)
    assert np.count_nonzero(started) > np.count_nonzero(play()[1])


def test_cuts_stand_and_tell_how_many_were_never_trained() -> None:
    end, started, decisions = play()
    cuts: tuple[Any, ...] = ()
    for decision in decisions:
        assert decision.eliminated[: len(cuts)] == cuts
        cuts = decision.eliminated
    assert [cut.n_instances for cut in cuts][:2] == [0, 1]
    assert set(cuts[0].configurations) == set(np.flatnonzero(started == 0).tolist())
    n, n_trained = len(SPACE), np.count_nonzero(started)
    assert f"{n_trained} of {n} configurations were trained, the certificate is about the last 6" in end.note
    assert "of the others nothing is claimed, but by the model of their neighbours" in end.note
    assert f"one of the {n - n_trained} never trained" in end.note


def test_decisions_depend_on_the_matrix_the_hyperparameters_and_the_seed_alone() -> None:
    rule, measure = registry.load("rules", "surrogate", **SETTINGS), registry.load("criteria", "median")
    seen = np.where(np.random.default_rng(4).random(LOSSES.shape[0])[:, None] < 0.3, LOSSES, np.nan)[:, :2]
    pending = np.zeros(len(SPACE), dtype=np.intp)
    first = rule.informed(SPACE, 3).decide(seen, pending, measure)
    used = rule.informed(SPACE, 3)
    used.decide(np.full((len(SPACE), 0), np.nan), pending, measure)
    assert used.decide(seen, pending, measure) == first
    started = np.full((len(SPACE), 0), np.nan)
    assert rule.informed(SPACE, 4).decide(started, pending, measure) != rule.informed(SPACE, 3).decide(
        started, pending, measure
    )


@pytest.mark.parametrize("window", [1, 16])
def test_with_a_window_the_cluster_changes_no_decision(window: int) -> None:
    ends = []
    for n_workers, durations in ((1, 0), (3, 1), (40, 2)):
        race = race_of(rule={"window": window})
        seconds = np.random.default_rng(durations).lognormal(0, 0.3, LOSSES.shape)
        simulate(RaceRunner(race, Silent()), of_matrix(LOSSES, seconds), n_workers)
        ends.append((race.state.verdict, race.state.eliminations))
    assert ends[0] == ends[1] == ends[2]


def test_a_race_cut_off_anywhere_goes_on_to_the_same_end() -> None:
    whole = race_of(rule={"window": 4}, confirm=2)
    whole.begin(2)
    drive(whole, LOSSES, n_workers=2)
    for n_told in (10, 33, 70, 100, 150):
        journal = Memory()
        first = race_of(rule={"window": 4}, confirm=2, journal=journal)
        first.begin(2)
        while first.state.counts["told"] < n_told and not first.done:
            for block in trials(first):
                first.tell(result_of(first, block.keys[0], LOSSES))
        later = race_of(rule={"window": 4}, confirm=2, journal=journal)
        later.replay(journal.entries)
        assert image(later) == image(first)
        later.begin(8)
        later.requeue_running()
        drive(later, LOSSES, n_workers=2)
        assert outcome(later) == outcome(whole), n_told


def test_the_verdict_counts_who_was_never_trained_and_claims_nothing_of_them() -> None:
    race = race_of()
    race.begin(1)
    drive(race, LOSSES)
    end = verdict(race, "median", 50)
    n_asked = int(np.count_nonzero(race.state.pool.asked))
    assert 0 < end.n_untrained == len(POOL) - n_asked
    assert "within 3 % of the best of those that raced last" in certainty(end)
    assert "of the best." in certainty(dataclasses.replace(end, n_untrained=0))


def test_failures_teach_without_poisoning() -> None:
    sick = LOSSES.copy()
    broken = [row for row, one in enumerate(SPACE) if one["lr"] == 1.0]
    sick[broken] = math.inf
    sick[np.random.default_rng(5).choice(len(SPACE), 12, replace=False)] = math.inf
    sick[np.random.default_rng(6).random(sick.shape) < 0.02] = math.inf
    end, started, _ = play(sick)
    alive = np.isfinite(np.median(sick, axis=1))
    assert TRUTH[end.leader] <= 1.06 * TRUTH[alive].min()
    assert (started[broken] > 0).mean() < 0.5 * (started > 0).mean()


def test_where_all_diverge_it_still_ends() -> None:
    end, _, _ = play(np.full((60, 80), math.inf), parameters=SPACE[:60])
    assert end.certified is False


@pytest.mark.parametrize("criterion", ["q3", "mean", "std", "q3_plus_iqr"])
def test_other_criteria(criterion: str) -> None:
    end, started, _ = play(criterion=criterion)
    assert np.count_nonzero(started) < len(SPACE)
    values = registry.load("criteria", criterion)(LOSSES)
    assert values[end.leader] <= np.quantile(values, 0.2)


def test_losses_may_be_negative_and_all_equal() -> None:
    end, _, _ = play(np.log(LOSSES))
    assert TRUTH[end.leader] <= 1.06 * TRUTH.min()
    end, _, _ = play(np.ones_like(LOSSES))
    assert end.leader >= 0


def test_a_budget_is_never_exceeded_and_ends_without_a_certificate() -> None:
    for budget in (24, 40, 60, 100):
        end, started, _ = play(budget=budget, delta=0.0001, cap=80)
        assert started.sum() <= budget
        assert end.certified is False
        assert f"the budget of {budget} instances is spent" in end.note


def test_a_budget_leaves_something_for_the_race_of_the_finalists() -> None:
    hard = np.exp(3 * NOISE)  # nobody is better than another: as many go on as may
    end, started, decisions = play(hard, budget=130, delta=0.0001, cap=80)
    assert started.sum() == 130
    raced = [one for one in decisions if len(one.eliminated) == len(decisions[-1].eliminated)]
    assert sum(len(one.train) for one in raced) >= 2 * SETTINGS["certify"]
    assert max(started) > 3, end.note


def test_where_finalists_spend_what_is_theirs_no_budget_is_named() -> None:
    end, started, _ = play(np.exp(3 * NOISE), delta=0.0001, cap=20)  # nobody is better than another
    assert end.certified is False
    told = re.search(r"([0-9]+) instances \(finalists x cap, and the first ones\) do not tell the best apart", end.note)
    assert told is not None, end.note
    assert 6 * 8 <= int(told[1]) < started.sum()
    assert "budget" not in end.note


def test_a_spent_budget_hides_no_other_word_of_the_verdict() -> None:
    for budget in (30, 55, 140):  # below the first two of all, in the exploration, and among the finalists
        end, started, _ = play(criterion="std", budget=budget, cap=80)
        assert started.sum() == max(budget, 2 * SETTINGS["start"])
        assert end.note.count(f"the budget of {budget} instances is spent") == 1
        assert "no confidence is stated for a criterion of the tail or the spread" in end.note


def test_the_plan_bounds_what_is_asked_for() -> None:
    for settings in ({}, {"budget": 90}, {"explore": 40}):
        rule = registry.load("rules", "surrogate", **{**SETTINGS, **settings})
        least, most = rule.plan(len(SPACE))
        _, started, _ = play(**settings)
        assert least <= started.sum() <= most
        assert np.count_nonzero(started) <= settings.get("explore", len(SPACE))
    with pytest.raises(ValueError, match="raise the budget to at least 24, or lower start"):
        registry.load("rules", "surrogate", **SETTINGS, budget=20).plan(len(SPACE))


def test_of_few_configurations_it_is_top_two() -> None:
    few, measure = LOSSES[:20], registry.load("criteria", "median")
    rule = registry.load("rules", "surrogate", **SETTINGS)
    same = registry.load("rules", "top_two", certify=8, cap=30, delta=0.03)
    idle = np.zeros(20, dtype=np.intp)
    for seen in (few[:, :0], few[:, :1], few[:, :5]):
        assert rule.informed(SPACE[:20], 0).decide(seen, idle, measure) == same.decide(seen, idle, measure)


def test_a_failure_that_is_taken_back_is_trained_again() -> None:
    race = race_of()
    race.begin(1)
    failed = []

    def fails(key: Any, attempt: int) -> bool:
        if race.state.pool.rows[key.configuration_id] % 5 == 0:
            failed.append(key)
            return True
        return False

    drive(race, LOSSES, fails=fails)
    assert race.state.failed
    race.retry_failed()
    drive(race, LOSSES)
    assert not race.state.failed
    assert TRUTH[race.state.verdict.leader] <= 1.06 * TRUTH.min()


def test_numbers_choices_and_conditions_are_encoded() -> None:
    found = Encoding.of([{"lr": lr, "flag": flag} for lr in (1e-3, 1e-2, 1e-1) for flag in (False, True)])
    assert found.main.shape == (6, 3)
    np.testing.assert_allclose(found.main.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.main.T @ found.main, np.diag(np.diag(found.main.T @ found.main)), atol=1e-9)
    assert found.pairs.shape == (6, 2)
    even = Encoding.of([{"n": n} for n in (10, 20, 30, 40)]).main
    geometric = Encoding.of([{"n": n} for n in (1, 10, 100, 1000)]).main
    np.testing.assert_allclose(even, geometric)
    conditional = Encoding.of([{"o": "a", "m": 1}, {"o": "a", "m": 2}, {"o": "b"}]).main
    assert conditional.shape == (3, 2)  # that there is no m says what o says
    np.testing.assert_array_equal(conditional[:, 1], [1, -1, 0])
    assert Encoding.of([{"only": 1}, {"only": 1}]).main.shape == (2, 0)


def test_many_columns_of_pairs_are_thinned_out() -> None:
    generator = np.random.default_rng(0)
    wide = [{f"p{i}": int(generator.integers(5)) for i in range(20)} for _ in range(300)]
    assert Encoding.of(wide).pairs.shape[1] <= 400


def test_a_surface_interpolates_and_knows_what_it_does_not_know() -> None:
    encoding, values = Encoding.of(SPACE), np.log(TRUTH)
    rows = np.random.default_rng(2).permutation(len(SPACE))[:60]
    surface = Surface.of(encoding, rows, values[rows], np.full(60, 0.01))
    others = np.setdiff1d(np.arange(len(SPACE)), rows)
    assert np.corrcoef(surface.mean()[others], values[others])[0, 1] > 0.95
    drawn = surface.draw(np.random.default_rng(3), 400)
    np.testing.assert_allclose(drawn.mean(axis=1), surface.mean(), atol=0.05)
    assert drawn[rows].std(axis=1).mean() < 0.5 * drawn[others].std(axis=1).mean()
    z = (values[others] - drawn[others].mean(axis=1)) / drawn[others].std(axis=1)
    assert 0.5 < z.std() < 1.6


def test_the_spread_is_learnt_beside_the_level() -> None:
    noisy = np.array([4.0 if one["optimizer"] == "SGD" else 1.0 for one in SPACE])
    losses = np.exp(NOISE * noisy[:, None])[:, :3]
    losses[::2, 1:] = np.nan
    scale, encoding = Scale.of(losses), Encoding.of(SPACE)
    assert scale is not None
    spread = spread_of(encoding, np.arange(len(SPACE)), scale.there(losses))
    assert 2.5 < np.median(spread[noisy == 4]) / np.median(spread[noisy == 1]) < 6
    learnt = Learnt.of(encoding, losses, registry.load("criteria", "q3"), 30)
    assert learnt is not None
    assert learnt.expected[noisy == 4].mean() > learnt.expected[noisy == 1].mean()


def test_few_pairs_teach_no_wild_spreads_nor_does_luck_that_helps_the_good_most() -> None:
    level, encoding, generator = np.log(TRUTH), Encoding.of(SPACE), np.random.default_rng(7)
    learnt = []
    for _ in range(20):
        rows = np.sort(generator.permutation(len(SPACE))[:60])
        values = level[rows, None] + generator.normal(0, 0.05, (60, 2))
        values[:, 1] -= 0.3 * (level.max() - level[rows])  # an easy sample, easiest for the good
        values[22:, 1] = np.nan
        learnt.append(spread_of(encoding, rows, values))
    assert np.median(learnt) == pytest.approx(0.05, rel=0.3)
    assert max(found.max() / found.min() for found in learnt) < 2
    assert 0.02 < np.min(learnt) < np.max(learnt) < 0.12


def test_a_scale_goes_there_and_back_and_compresses_the_bad_half() -> None:
    losses = np.array([[0.1], [0.2], [0.4], [3.0], [math.inf]])
    scale = Scale.of(losses)
    assert scale is not None
    there = scale.there(losses)
    np.testing.assert_allclose(scale.back(there[:4]), losses[:4])
    assert there[4, 0] == there[3, 0]
    assert there[1, 0] - there[0, 0] == pytest.approx(math.log(2))
    assert there[3, 0] - there[2, 0] < 0.4 * math.log(7.5)
    np.testing.assert_allclose(scale.back(scale.below(there[:2], 0.1)), 0.9 * losses[:2])
    assert Scale.of(np.full((2, 2), math.inf)) is None


def test_whoever_cannot_be_told_from_the_best_goes_on() -> None:
    """Of configurations that are all alike nobody can be told apart; where some are far better, the others are cut."""
    generator = np.random.default_rng(4)
    parameters = [{"a": a, "b": b} for a in range(12) for b in range(10)]
    level = {"alike": np.ones(120), "apart": np.where(np.arange(120) % 40 == 3, 1.0, 3.0)}
    n_left = {}
    for name, levels in level.items():
        losses = levels[:, None] * np.exp(0.1 * generator.standard_normal((120, 8)))
        rule = registry.load("rules", "surrogate", start=100, finalists=6, cap=30, explore=100).informed(parameters, 0)
        seen = np.full_like(losses, np.nan)
        while True:
            started = np.count_nonzero(~np.isnan(seen), axis=1)
            decision = rule.decide(seen, np.zeros(120, dtype=np.intp), registry.load("criteria", "median"))
            if len(decision.eliminated) == 4:
                break
            for row in decision.train:
                seen[row, started[row]] = losses[row, started[row]]
                started[row] += 1
        n_left[name] = 120 - sum(len(cut.configurations) for cut in decision.eliminated)
    assert n_left["apart"] == 6
    assert 6 < n_left["alike"] <= 18
