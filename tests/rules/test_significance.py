import math

import numpy as np
import pytest
from scipy import stats

from raysearch import registry
from raysearch.errors import UnknownNameError
from raysearch.rules.significance import _TESTS, _p_values

MEAN = registry.load("criteria", "mean")
LOCATION = ("welch", "mann_whitney", "kolmogorov_smirnov")
WIDTH = ("bartlett", "levene", "fligner")


def decide(losses, criterion=MEAN, **arguments):
    rule = registry.load("rules", "significance", **arguments)
    return rule.decide(losses, np.zeros(len(losses), dtype=np.intp), criterion)


@pytest.mark.parametrize(
    ("name", "direct"),
    [
        ("welch", lambda a, b: stats.ttest_ind(a, b, equal_var=False)),
        ("mann_whitney", lambda a, b: stats.mannwhitneyu(a, b, alternative="two-sided")),
        ("kolmogorov_smirnov", stats.ks_2samp),
        ("bartlett", stats.bartlett),
        ("levene", stats.levene),
        ("fligner", stats.fligner),
    ],
)
def test_p_values_are_scipys(name, direct):
    losses = np.random.default_rng(1).normal(size=(5, 9)) * np.arange(1, 6)[:, None]
    p = _p_values(name, losses.tobytes(), 5, 2)
    assert p[2] == 1
    for row in (0, 1, 3, 4):
        assert p[row] == pytest.approx(direct(losses[row], losses[2]).pvalue)


@pytest.mark.parametrize("name", LOCATION)
def test_worse_configurations_go_and_equal_ones_stay(name):
    generator = np.random.default_rng(2)
    levels = np.array([0.0, 0.0, 0.0, 5.0, 9.0])
    losses = levels[:, None] + generator.normal(size=(5, 20))
    decision = decide(losses, test=name, alpha=0.01)
    assert set(decision.verdict.indistinguishable) == {0, 1, 2}
    assert decision.verdict.leader == int(np.argmin(losses[:3].mean(axis=1)))
    assert {row for cut in decision.eliminated for row in cut.configurations} == {3, 4}
    assert decision.verdict.probability is None
    assert "cannot be told apart" in decision.verdict.note


@pytest.mark.parametrize("name", WIDTH)
def test_wider_configurations_go(name):
    generator = np.random.default_rng(3)
    widths = np.array([1.0, 1.0, 12.0])
    losses = widths[:, None] * generator.normal(size=(3, 20))
    decision = decide(losses, registry.load("criteria", "std"), test=name, alpha=0.01)
    assert decision.verdict.indistinguishable == (0, 1)


@pytest.mark.parametrize("name", _TESTS)
def test_equal_losses_are_never_told_apart(name):
    decision = decide(np.ones((4, 20)), test=name)
    assert decision.verdict.leader == 0
    assert decision.verdict.indistinguishable == (0, 1, 2, 3)


@pytest.mark.parametrize("name", _TESTS)
def test_diverged_instances_count_as_bad(name):
    losses = np.random.default_rng(4).normal(size=(3, 20))
    losses[0, ::2] = math.inf
    decision = decide(losses, test=name, alpha=0.05)
    assert decision.verdict.leader != 0
    assert 0 not in decision.verdict.indistinguishable


def test_where_everything_diverges_nothing_is_claimed():
    losses = np.full((3, 20), math.inf)
    for name in _TESTS:
        assert decide(losses, test=name).verdict.indistinguishable == (0, 1, 2)


def test_rounds_start_after_the_warm_up_and_end_at_the_maximum():
    losses = np.random.default_rng(5).normal(size=(6, 20))
    pending = np.zeros(6, dtype=np.intp)
    rule = registry.load("rules", "significance", alpha=1e-9, warmup=4, max_instances=7)
    assert sorted(rule.decide(losses[:, :0], pending, MEAN).train) == sorted([*range(6)] * 4)
    assert rule.decide(losses[:, :4], pending, MEAN).train == (0, 1, 2, 3, 4, 5)
    assert rule.decide(losses[:, :7], pending, MEAN).verdict is not None
    assert rule.plan(6) == (24, 42)


def test_patience_ends_it_after_so_many_rounds_without_a_cut():
    losses = np.random.default_rng(6).normal(size=(6, 20))
    pending = np.zeros(6, dtype=np.intp)
    rule = registry.load("rules", "significance", alpha=1e-9, warmup=3, patience=2)
    assert rule.decide(losses[:, :3], pending, MEAN).verdict is None
    assert rule.decide(losses[:, :4], pending, MEAN).verdict is not None


@pytest.mark.parametrize(
    "arguments", [{"alpha": 0}, {"alpha": 1}, {"warmup": 1}, {"warmup": 9, "max_instances": 8}, {"patience": 0}]
)
def test_values_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        registry.load("rules", "significance", **arguments)


def test_an_unknown_test_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'welch'"):
        registry.load("rules", "significance", test="welsh")
