import pytest

from raysearch import registry
from raysearch.errors import ExperimentError
from raysearch.records import Outcome
from raysearch.samplers.search_space import parse


def test_the_whole_grid_comes_at_once_in_the_order_of_the_file():
    propose = registry.load("samplers", "grid").bind(parse({"a": [3, 1], "b": [2, 1]}), 0)
    wave = propose([])
    assert [tuple(c.parameters.values()) for c in wave] == [(3, 2), (3, 1), (1, 2), (1, 1)]
    # only known ones: the end of a search, or more after another sampler's
    assert propose([Outcome(c, (0.1,), False) for c in wave]) == wave


def test_a_continuous_range_is_refused_with_the_remedy():
    with pytest.raises(ExperimentError, match=r"parameter 'lr'.*give it a `step`"):
        registry.load("samplers", "grid").bind(parse({"lr": {"low": 0.1, "high": 1.0}}), 0)
