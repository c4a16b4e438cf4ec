"""Algorithm 1 to the exact counts of the paper, by letting it play and not by formula."""

import numpy as np
import pytest

from raysearch import registry
from raysearch.errors import ExperimentError


def play(rule, losses, criterion):
    """Hand a rule what it asks for until its verdict; returns the verdict's decision and the matrix it has seen."""
    seen = np.full_like(losses, np.nan)
    decision = rule.decide(seen, np.zeros(len(losses), dtype=np.intp), criterion)
    while decision.verdict is None:
        assert decision.train, "nothing runs, so the rule must ask"
        for row in decision.train:
            column = int(np.count_nonzero(~np.isnan(seen[row])))
            seen[row, column] = losses[row, column]
        decision = rule.decide(seen, np.zeros(len(losses), dtype=np.intp), criterion)
    return decision, seen


@pytest.mark.parametrize(("warmup", "n_instances"), [(1, 141), (3, 285), (10, 789), (11, 861), (12, 933)])
def test_72_configurations_take_the_published_number_of_instances(warmup, n_instances):
    rule = registry.load("rules", "halving", warmup=warmup)
    losses = np.random.default_rng(warmup).normal(size=(72, 20))
    _, seen = play(rule, losses, registry.load("criteria", "mean"))
    assert np.count_nonzero(~np.isnan(seen)) == n_instances
    assert rule.plan(72) == (n_instances, n_instances)


def test_6912_configurations_take_41467_instances():
    rule = registry.load("rules", "halving", warmup=5)
    losses = np.random.default_rng(0).normal(size=(6912, 20))
    decision, seen = play(rule, losses, registry.load("criteria", "q3"))
    assert np.count_nonzero(~np.isnan(seen)) == 41_467
    assert rule.plan(6912) == (41_467, 41_467)
    left = 6912 - np.cumsum([len(cut.configurations) for cut in decision.eliminated])
    assert left.tolist() == [3456, 1728, 864, 432, 216, 108, 54, 27, 13, 6, 3, 1]


def test_each_cut_is_what_a_sort_says():
    losses = np.random.default_rng(1).normal(size=(9, 12))
    decision, _ = play(registry.load("rules", "halving", warmup=2), losses, registry.load("criteria", "mean"))
    survivors = list(range(9))
    for cut in decision.eliminated:
        values = {row: losses[row, : cut.n_instances].mean() for row in survivors}
        order = sorted(survivors, key=values.get)
        kept, out = order[: len(order) // 2], order[len(order) // 2 :]
        assert cut.configurations == tuple(sorted(out))
        assert cut.values == pytest.approx([values[row] for row in sorted(out)])
        assert cut.cutoff == pytest.approx(max(values[row] for row in kept))
        survivors = sorted(kept)
    assert survivors == [decision.verdict.leader]
    assert [cut.round for cut in decision.eliminated] == [2, 3, 4]


def test_ties_go_to_the_configuration_that_comes_first():
    decision, _ = play(registry.load("rules", "halving", warmup=1), np.ones((5, 9)), registry.load("criteria", "mean"))
    assert decision.eliminated[0].configurations == (2, 3, 4)
    assert decision.verdict.leader == 0


def test_all_diverged_still_ends():
    losses = np.full((4, 9), np.inf)
    decision, _ = play(registry.load("rules", "halving", warmup=2), losses, registry.load("criteria", "q3_plus_iqr"))
    assert decision.verdict.leader == 0


def test_one_configuration_wins_after_its_warm_up():
    decision, seen = play(registry.load("rules", "halving", warmup=3), np.ones((1, 5)), registry.load("criteria", "q3"))
    assert decision.verdict.leader == 0
    assert np.count_nonzero(~np.isnan(seen)) == 3


def test_the_warm_up_is_asked_for_step_by_step():
    rule = registry.load("rules", "halving", warmup=3)
    decision = rule.decide(np.full((2, 0), np.nan), np.zeros(2, dtype=np.intp), registry.load("criteria", "mean"))
    assert decision.train == (0, 1, 0, 1, 0, 1)
    assert decision.n_awaited == 6


@pytest.mark.parametrize("warmup", [0, -1])
def test_a_warm_up_without_instances_is_refused(warmup):
    with pytest.raises(ExperimentError, match=f"warmup must be at least 1, got {warmup}"):
        registry.load("rules", "halving", warmup=warmup)
