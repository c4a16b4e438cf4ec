import math
import time

import numpy as np
import pytest

from raysearch import registry
from raysearch.rules._contenders import Contenders

MEAN, Q3, MEDIAN = (registry.load("criteria", name) for name in ("mean", "q3", "median"))


def rule(**arguments):
    return registry.load("rules", "top_two", **arguments)


def play(rule, losses, criterion, n_workers=1):
    """Run to the verdict on `n_workers` equally fast workers. Returns the last decision and the instances of each."""
    seen, started = np.full_like(losses, np.nan), np.zeros(len(losses), dtype=np.intp)
    queue, running = [], []
    while True:
        while len(running) < n_workers:
            if not queue:
                pending = np.bincount([row for row, _ in running], minlength=len(losses))
                decision = rule.decide(seen, pending, criterion)
                if decision.verdict is not None:
                    return decision, started
                queue.extend(decision.train)
                if not queue:
                    break
            row = queue.pop(0)
            running.append((row, started[row]))
            started[row] += 1
        row, column = running.pop(0)
        seen[row, column] = losses[row, column]


def table(n=72, n_instances=200, seed=0, sigma=0.002):
    generator = np.random.default_rng(seed)
    means = generator.permutation(0.0965 + 0.0005 * np.arange(n) + 0.0015 * (np.arange(n) > 0))
    return means, means[:, None] + sigma * generator.standard_normal((n, n_instances))


def test_claims_of_95_percent_hold():
    right = []
    for seed in range(60):
        means, losses = table(n=24, seed=seed)
        verdict = play(rule(), losses, MEAN)[0].verdict
        assert verdict.certified
        assert verdict.probability >= 0.95
        right.append(means[verdict.leader] <= means.min() * 1.01)
    assert np.mean(right) >= 0.93


def test_it_takes_far_fewer_instances_than_algorithm_1_needs_for_as_sure_an_answer():
    found, used = [], []
    for seed in range(40):
        means, losses = table(seed=seed)
        decision, n = play(rule(budget=125), losses, MEAN)
        found.append(means[decision.verdict.leader] == means.min())
        used.append(n.sum())
    assert max(used) <= 125
    assert np.mean(found) >= 0.85  # expected .95


def test_the_leader_is_certified_only_after_so_many_instances():
    _, losses = table(sigma=1e-5)
    decision, n = play(rule(), losses, MEAN)
    assert n[decision.verdict.leader] >= 20
    assert n.sum() <= 72 + 18 + 20


def test_exact_ties_end_in_a_set_within_delta():
    generator = np.random.default_rng(3)
    losses = 1.0 + 0.01 * generator.standard_normal((6, 400))
    verdict = play(rule(cap=300), losses, MEAN)[0].verdict
    assert verdict.certified
    assert len(verdict.indistinguishable) >= 2
    assert verdict.leader in verdict.indistinguishable


def test_ties_finer_than_the_cap_resolves_are_not_certified():
    generator = np.random.default_rng(4)
    losses = 1.0 + 0.5 * generator.standard_normal((6, 400))
    verdict = play(rule(cap=30), losses, MEAN)[0].verdict
    assert verdict.certified is False
    assert verdict.probability < 0.95
    assert "cap" in verdict.note


def test_a_rival_with_one_unlucky_instance_is_tried_again():
    generator = np.random.default_rng(5)
    levels = np.array([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9])
    losses = levels[:, None] * (1 + 0.005 * generator.standard_normal((10, 200)))
    losses[0, 1] *= 5  # the best one's second instance falls into its bad mode
    decision, n = play(rule(), losses, Q3)
    assert decision.verdict.leader == 0
    assert n[0] >= 20


def test_a_leader_whose_bad_mode_is_too_common_is_found_out():
    generator = np.random.default_rng(6)
    levels = np.array([0.95, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6])
    losses = levels[:, None] * (1 + 0.005 * generator.standard_normal((8, 400)))
    losses[0, 4::3] *= 8  # a third of its instances, after a clean start
    assert play(rule(), losses, Q3)[0].verdict.leader == 1


@pytest.mark.parametrize("criterion", registry.names("criteria"))
def test_every_criterion_comes_to_a_verdict(criterion):
    _, losses = table(n=12, n_instances=120)
    decision, n = play(rule(), losses, registry.load("criteria", criterion))
    if criterion in ("mean", "median", "q3"):
        assert 0 <= decision.verdict.probability <= 1
    else:
        assert decision.verdict.probability is None, "nothing is claimed of tails and spreads"
    assert n.max() <= 100


def test_diverged_configurations_lose_and_all_diverged_is_said():
    _, losses = table(n=10)
    losses[3] = math.inf
    for criterion in (MEAN, Q3, MEDIAN):
        assert play(rule(), losses, criterion)[0].verdict.leader != 3
        decision, n = play(rule(), np.full((10, 50), math.inf), criterion)
        assert decision.verdict.certified is False
        assert decision.verdict.note == "every contender diverged"
        assert n.sum() <= 40


def test_losses_without_noise_are_certified():
    decision, n = play(rule(), np.tile(np.arange(1.0, 11)[:, None], 60), MEAN)
    assert decision.verdict.leader == 0
    assert decision.verdict.certified
    assert n.sum() <= 10 + 8 + 20


def test_many_configurations_are_screened_by_quarters():
    generator = np.random.default_rng(7)
    levels = generator.permutation(1 + np.arange(2000) / 500)
    losses = levels[:, None] * (1 + 0.01 * generator.standard_normal((2000, 120)))
    decision, n = play(rule(), losses, Q3)
    assert [len(cut.configurations) for cut in decision.eliminated] == [1500, 244]
    assert levels[decision.verdict.leader] <= levels.min() * 1.01
    assert n.sum() < 2000 + 500 + 256 + 400
    least, most = rule().plan(2000)
    assert least <= n.sum() <= most


@pytest.mark.parametrize("budget", [72, 80, 100, 130])
@pytest.mark.parametrize("n_workers", [1, 16])
def test_the_budget_is_never_exceeded(budget, n_workers):
    _, losses = table(sigma=0.01)
    decision, n = play(rule(budget=budget), losses, MEAN, n_workers)
    assert n.sum() == budget
    assert decision.verdict.certified is False
    assert "budget" in decision.verdict.note


def test_a_budget_below_one_instance_each_is_refused():
    with pytest.raises(ValueError, match="cannot train 72 configurations once"):
        rule(budget=71).plan(72)


def test_a_budget_that_earlier_waves_spent_still_hears_everyone_once():
    _, losses = table(12)
    seen = np.full_like(losses, np.nan)
    seen[0, :60] = losses[0, :60]  # the leader of an earlier wave
    limited, idle = rule(budget=40), np.zeros(12, dtype=np.intp)
    asked = limited.decide(seen, idle, MEAN).train
    assert sorted(asked) == list(range(1, 12))
    seen[1:, 0] = losses[1:, 0]
    assert limited.decide(seen, idle, MEAN).verdict is not None


def test_whoever_may_still_be_better_than_a_leader_at_the_cap_is_tried():
    # two noisy leaders at the cap, and a quiet one of which little is known
    losses = np.full((3, 100), np.nan)
    noise = np.random.default_rng(0).normal(size=(3, 100))
    losses[0], losses[1] = 1 + 0.2 * noise[0], 1 + 0.2 * noise[1]
    losses[:2] += 1 - losses[:2].mean(axis=1, keepdims=True)
    losses[2, :3] = 1.001 + 0.01 * noise[2, :3]
    decision = rule(cap=100).decide(losses, np.zeros(3, dtype=np.intp), MEAN)
    assert decision.train == (2,)


def test_one_configuration_alone_is_no_claim():
    for losses in ([[np.inf]], [[0.3]]):
        verdict = rule().decide(np.array(losses), np.zeros(1, dtype=np.intp), MEAN).verdict
        assert (verdict.leader, verdict.certified, verdict.probability) == (0, None, None)
        assert "no other configuration" in verdict.note


def test_a_spent_budget_crowns_nobody_by_a_single_instance():
    losses = np.full((3, 6), np.nan)
    losses[0], losses[1, :2], losses[2, 0] = 1.0 + 0.01 * np.arange(6), (1.2, 1.3), 0.2
    verdict = rule(budget=9).decide(losses, np.zeros(3, dtype=np.intp), MEAN).verdict
    assert (verdict.leader, verdict.certified) == (0, False)


def test_running_instances_are_respected_and_workers_find_work():
    means, losses = table()
    decision, n = play(rule(), losses, MEAN, n_workers=32)
    assert means[decision.verdict.leader] <= means.min() * 1.01
    assert n.max() <= 100
    pending = np.zeros(72, dtype=np.intp)
    chosen = []
    for _ in range(12):
        train = rule().decide(losses[:, :2], pending, MEAN).train
        chosen.extend(train)
        pending[list(train)] += 1
    assert len(set(chosen)) > 2  # not all on one row


def test_a_straggler_among_the_first_instances_delays_the_verdict_without_new_trainings():
    _, losses = table(sigma=1e-5)
    seen = losses[:, :40].copy()
    seen[int(np.argmax(losses[:, 0])), :] = np.nan
    pending = np.isnan(seen[:, 0]).astype(np.intp)
    decision = rule().decide(seen, pending, MEAN)
    assert decision.verdict is None
    assert decision.train == ()


def test_a_decision_takes_a_millisecond_or_two():
    generator = np.random.default_rng(8)
    losses = (1 + np.arange(256) / 100)[:, None] * (1 + 0.05 * generator.standard_normal((256, 20)))
    losses[60:, 4:] = np.nan
    pending = np.zeros(256, dtype=np.intp)
    decide = rule().decide
    decide(losses, pending, Q3)
    spans = []
    for _ in range(20):
        start = time.process_time()
        decide(losses, pending, Q3)
        spans.append(time.process_time() - start)
    assert min(spans) < 0.004


@pytest.mark.parametrize(
    "arguments",
    [
        {"delta": -1},
        {"confidence": 1},
        {"warmup": 0},
        {"keep": 1},
        {"cap": 5},
        {"budget": 0},
        {"batch": 0},
        {"prior_dof": 0},
    ],
)
def test_values_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        rule(**arguments)


def test_pairing_takes_the_luck_of_columns_off():
    generator = np.random.default_rng(9)
    luck, noise = generator.standard_normal(40), generator.standard_normal((20, 40))
    losses = 10 + np.arange(20)[:, None] / 100 + 0.8**0.5 * luck + 0.2**0.5 * noise
    losses[5:, 4:] = np.nan  # most rows have four instances only
    paired = Contenders.of(losses, MEAN, 100, 6.0)
    alone = Contenders.of(np.where(np.isnan(losses), np.nan, losses - 0.8**0.5 * luck + luck.mean()), MEAN, 100, 6.0)
    assert 0.4 < np.median(paired.paired[5:]) < 0.9
    assert paired.error(paired.n)[10] < 0.8 * paired.scale[10] / 2
    # what is left are the differences that rows without common luck would show
    raw = np.nanmean(losses, axis=1)
    truth = alone.theta - alone.theta.mean()
    assert np.std(paired.theta - paired.theta.mean() - truth) < 0.7 * np.std(raw - raw.mean() - truth)


def test_pairing_is_not_seen_where_there_is_none():
    explained = []
    for seed in range(40):
        losses = np.random.default_rng(seed).standard_normal((30, 4)) + 10
        explained.append(Contenders.of(losses, MEAN, 100, 6.0).paired.mean())
    assert np.median(explained) == 0
    assert np.mean(explained) < 0.02


def test_pairing_serves_levels_and_not_widths():
    luck = np.random.default_rng(11).standard_normal(6)
    losses = luck + 0.1 * np.random.default_rng(12).standard_normal((20, 6))
    assert Contenders.of(losses, MEDIAN, 100, 6.0).paired.max() > 0.5
    assert Contenders.of(losses, registry.load("criteria", "std"), 100, 6.0).paired.max() == 0
