import math

import numpy as np
import pytest

from raysearch import registry
from raysearch.rules.sequential_halving import _schedule

MEAN = registry.load("criteria", "mean")


def play(rule, losses):
    seen, started = np.full_like(losses, np.nan), np.zeros(len(losses), dtype=np.intp)
    while True:
        decision = rule.decide(seen, np.zeros(len(losses), dtype=np.intp), MEAN)
        if decision.verdict is not None:
            return decision, started
        for row in decision.train:
            seen[row, started[row]] = losses[row, started[row]]
            started[row] += 1


@pytest.mark.parametrize(("n", "budget"), [(72, 141), (72, 180), (72, 72), (7, 100), (6912, 8154), (2, 3), (1, 50)])
def test_the_budget_is_an_upper_bound_that_is_nearly_reached(n, budget):
    rule = registry.load("rules", "sequential_halving", budget=budget)
    least, most = rule.plan(n)
    assert least == most <= budget
    if n > 1:
        assert budget - most < 2 or budget == n


def test_rounds_share_what_is_left_and_keep_their_data():
    # 72 instances of 141 go to the first round; a share of (141 - 72) / 5 = 13 buys no round of 36 or 18 anything
    assert _schedule(72, 141) == ((72, 1), (36, 1), (18, 1), (9, 3), (4, 9), (2, 22))


def test_the_best_of_a_clear_table_wins_and_late_survivors_get_most():
    generator = np.random.default_rng(0)
    losses = np.arange(16)[::-1, None] + 0.1 * generator.standard_normal((16, 200))
    decision, n = play(registry.load("rules", "sequential_halving", budget=160), losses)
    assert decision.verdict.leader == 15
    assert n.sum() == registry.load("rules", "sequential_halving", budget=160).plan(16)[0]
    assert n[15] == n.max()
    assert [len(cut.configurations) for cut in decision.eliminated] == [8, 4, 2, 1]


def test_a_diverged_instance_counts():
    losses = np.tile(np.arange(4.0)[:, None], 60)
    losses[0, 0] = math.inf
    decision, _ = play(registry.load("rules", "sequential_halving", budget=20), losses)
    assert decision.verdict.leader == 1


def test_a_budget_below_one_instance_each_is_refused():
    rule = registry.load("rules", "sequential_halving", budget=5)
    with pytest.raises(ValueError, match="5 instances cannot train 6 configurations"):
        rule.plan(6)
    with pytest.raises(ValueError, match="at least 1"):
        registry.load("rules", "sequential_halving", budget=0)
