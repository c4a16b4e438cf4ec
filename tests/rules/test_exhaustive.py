import numpy as np
import pytest

from raysearch import registry
from raysearch.errors import ExperimentError


def test_every_configuration_trains_them_all_and_the_best_wins():
    rule, criterion = registry.load("rules", "exhaustive", n_instances=3), registry.load("criteria", "mean")
    pending = np.zeros(4, dtype=np.intp)
    assert sorted(rule.decide(np.full((4, 0), np.nan), pending, criterion).train) == sorted([0, 1, 2, 3] * 3)
    losses = np.array([[3.0, 3, 3], [1, 2, 3], [1, 1, 4], [9, 9, 9]])  # rows 1 and 2 tie
    decision = rule.decide(losses, pending, criterion)
    assert decision.verdict.leader == 1
    (cut,) = decision.eliminated
    assert cut.configurations == (0, 2, 3)
    assert cut.values == (3.0, 2.0, 9.0)
    assert cut.cutoff == 2.0


def test_the_papers_comparison_takes_345600_instances():
    assert registry.load("rules", "exhaustive").plan(6912) == (345_600, 345_600)


def test_only_what_is_missing_is_asked_for():
    rule, criterion = registry.load("rules", "exhaustive", n_instances=2), registry.load("criteria", "mean")
    losses = np.array([[1.0, np.nan], [1.0, 2.0], [np.nan, np.nan]])
    decision = rule.decide(losses, np.array([0, 0, 1]), criterion)
    assert sorted(decision.train) == [0, 2]
    assert decision.n_awaited == 3
    assert decision.verdict is None
    assert decision.eliminated == ()


def test_no_instance_at_all_is_refused():
    with pytest.raises(ExperimentError, match="n_instances must be at least 1, got 0"):
        registry.load("rules", "exhaustive", n_instances=0)
