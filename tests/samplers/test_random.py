import pytest

from raysearch import registry
from raysearch.errors import ExperimentError
from raysearch.records import Outcome
from raysearch.samplers.search_space import parse

SPACE = parse({"lr": {"low": 1e-4, "high": 1e-1, "log": True}, "depth": {"low": 1, "high": 9}})


def draw(n, seed=0, space=SPACE):
    return registry.load("samplers", "random", n_configurations=n).bind(space, seed)


def test_a_larger_number_extends_the_smaller_one():
    few, many = draw(5)([]), draw(12)([])
    assert many[:5] == few
    assert len({configuration.id for configuration in many}) == 12
    assert draw(12)([Outcome(c, (), False) for c in few]) == many[5:]


def test_another_seed_draws_others():
    assert {c.id for c in draw(8, 1)([])}.isdisjoint(c.id for c in draw(8, 2)([]))


def test_a_space_with_fewer_configurations_is_refused_with_their_number():
    with pytest.raises(ExperimentError, match=r"found only 3 different valid configurations of the 4 asked for.*grid"):
        draw(4, space=parse({"a": [1, 2, 3]}))
    assert len(draw(3, space=parse({"a": [1, 2, 3]}))([])) == 3


def test_far_too_many_are_refused_without_a_draw_for_each():
    with pytest.raises(ExperimentError, match=r"found only 3 .* of the 1000000000 .* the last 10000 of them in vain"):
        registry.load("samplers", "random", n_configurations=10**9).bind(parse({"x": [1, 2, 3]}), seed=0)


def test_no_configurations_at_all_are_refused():
    with pytest.raises(ExperimentError, match=r"n_configurations must be at least 1, got 0"):
        registry.load("samplers", "random", n_configurations=0)
