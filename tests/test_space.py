import datetime
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.errors import ExperimentError
from raysearch.samplers.search_space import parse


def grid_of(section, constraints=()):
    return [dict(c.parameters) for c in parse(section, constraints).enumerate()]


def test_the_grid_is_the_product_first_parameter_slowest():
    assert grid_of({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ({"low": 1, "high": 4}, [1, 2, 3, 4]),
        ({"low": 1, "high": 8, "step": 3}, [1, 4, 7]),
        ({"low": 0, "high": 1, "step": 0.25}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"low": 0.1, "high": 0.5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"low": 0, "high": 2, "type": "float", "step": 1}, [0.0, 1.0, 2.0]),
        ({"choice": [3, 1]}, [3, 1]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        ((0.1, 0.2), [0.1, 0.2]),
        (7, [7]),
        (True, [True]),
        ("AdamW", ["AdamW"]),
        ([(1, 2), np.int64(3), np.float64(0.5)], [[1, 2], 3, 0.5]),
        (np.float32(0.5), [0.5]),
        ({"low": np.int64(1), "high": np.int64(2)}, [1, 2]),
    ],
)
def test_values_of_a_parameter(section, values):
    found = [parameters["p"] for parameters in grid_of({"p": section})]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_a_condition_removes_the_parameter_and_what_hangs_on_it():
    section = {
        "n": [1, 2, 3],
        "second": {"choice": [8, 16], "when": {"n": [2, 3]}},
        "third": {"low": 1, "high": 2, "when": {"n": 3, "second": 16}},
    }
    assert grid_of(section) == [
        {"n": 1},
        {"n": 2, "second": 8},
        {"n": 2, "second": 16},
        {"n": 3, "second": 8},
        {"n": 3, "second": 16, "third": 1},
        {"n": 3, "second": 16, "third": 2},
    ]


def test_constraints_are_upper_bounds():
    assert grid_of({"a": [1, 2, 3]}, (("square", lambda p: p["a"] ** 2, 4.0),)) == [{"a": 1}, {"a": 2}]


def test_ids_are_those_of_the_content_whatever_the_order():
    first = {c.id for c in parse({"a": [1, 2], "b": [3]}).enumerate()}
    assert first == {c.id for c in parse({"b": [3], "a": [2, 1]}).enumerate()}
    assert first != {c.id for c in parse({"a": [1.0, 2.0], "b": [3]}).enumerate()}


ranges = st.one_of(
    st.tuples(st.integers(-50, 50), st.integers(1, 60)).map(lambda r: {"low": r[0], "high": r[0] + r[1]}),
    st.tuples(st.integers(1, 50), st.integers(1, 60)).map(lambda r: {"low": r[0], "high": r[0] + r[1], "log": True}),
    st.tuples(st.floats(-5, 5), st.floats(0.01, 5)).map(lambda r: {"low": r[0], "high": r[0] + r[1]}),
    st.tuples(st.floats(1e-6, 1), st.floats(1.1, 1e3)).map(lambda r: {"low": r[0], "high": r[0] * r[1], "log": True}),
    st.tuples(st.integers(0, 5), st.floats(0.05, 1)).map(lambda r: {"low": r[0], "high": r[0] + 3, "step": r[1]}),
)


@given(ranges, st.integers(0, 2**32))
def test_what_is_drawn_lies_in_the_range_and_has_its_type(section, seed):
    space = parse({"p": section})
    generator = np.random.default_rng(seed)
    whole = all(isinstance(section[key], int) for key in ("low", "high", "step") if key in section)
    for _ in range(5):
        value = space.sample(generator)["p"]
        assert section["low"] <= value <= section["high"] + 1e-9
        assert type(value) is (int if whole else float)
        if "step" in section:
            assert value in space.parameters["p"].grid()


@pytest.mark.parametrize("log", [False, True])
def test_the_ends_of_an_integer_range_are_as_likely_as_they_should_be(log):
    space, generator = parse({"p": {"low": 1, "high": 4, "log": log}}), np.random.default_rng(0)
    counts = np.bincount([space.sample(generator)["p"] for _ in range(20_000)], minlength=5)[1:]
    edges = np.log([0.5, 1.5, 2.5, 3.5, 4.5]) if log else np.arange(5)
    expected = 20_000 * np.diff(edges) / (edges[-1] - edges[0])
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


def test_a_log_range_is_uniform_in_its_logarithm():
    space, generator = parse({"p": {"low": 1e-4, "high": 1e-2, "log": True}}), np.random.default_rng(0)
    below = sum(space.sample(generator)["p"] < 1e-3 for _ in range(4000))
    assert abs(below - 2000) < 5 * math.sqrt(1000)


def test_drawing_from_a_huge_whole_range_lists_nothing():
    space, generator = parse({"p": {"low": 0, "high": 2**52}}), np.random.default_rng(0)
    assert len({space.sample(generator)["p"] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "the space has no parameters"),
        ({"lr": []}, "parameter 'lr': the list of values is empty"),
        ({"lr": [0.1, 0.2, 0.1]}, "parameter 'lr': a value appears twice"),
        ({"lr": [0.1, math.nan]}, r"nan \(float\) is no finite number"),
        ({"lr": math.inf}, r"inf \(float\) is no finite number"),
        ({"lr": [[1, math.inf]]}, "is no finite number"),
        ({"lr": [datetime.date(2020, 1, 1)]}, r"\(date\) is no finite number"),
        ({"lr": [np.zeros(2)]}, r"\(ndarray\) is no finite number"),
        ({"lr": [{3: 1}]}, r"parameter 'lr': the key 3 \(int\) is no text"),
        ({"lr": [(1, 2), [1, 2]]}, "parameter 'lr': a value appears twice"),
        ({"lr": ["\ud800"]}, "is no finite number, text"),
        ({"lr": None}, "expected a list of values, a range .* or one value, got None"),
        ({"lr": {"low": 1}}, "`high` must be a finite number, got None"),
        ({"lr": {"low": "1e-4", "high": 1}}, "`low` must be a finite number, got '1e-4'"),
        ({"lr": {"low": True, "high": 3}}, "`low` must be a finite number, got True"),
        ({"lr": {"low": 0, "high": math.nan}}, "`high` must be a finite number, got nan"),
        ({"lr": {"low": 0, "high": 10**400}}, "`high` must be a finite number, got 10000"),
        ({"lr": {"low": 2, "high": 1}}, "`low` must be below `high`, got 2 and 1"),
        ({"lr": {"low": 0, "high": 1, "log": True}}, "a log range needs `low` above 0"),
        ({"lr": {"low": 1, "high": 9, "log": True, "step": 2}}, "a log range needs .* no `step`"),
        ({"lr": {"low": 1, "high": 9, "log": "yes"}}, "`log` must be true or false, got 'yes'"),
        ({"lr": {"low": 1, "high": 9, "step": 0}}, "`step` must be positive, got 0"),
        ({"lr": {"low": 0.5, "high": 3, "type": "int"}}, "type int needs whole numbers, got low 0.5"),
        ({"lr": {"low": 1, "high": 9, "type": "integer"}}, "unknown type of a range 'integer'. Did you mean 'int'"),
        ({"lr": {"low": 1, "hihg": 9}}, "unknown key of a parameter 'hihg'. Did you mean 'high'"),
        ({"lr": {"choice": [1], "wen": {}}}, "unknown key of a parameter 'wen'. Did you mean 'when'"),
        ({"lr": {"choice": 5}}, "`choice` must be a list, got 5"),
        ({"lr": {"choice": [1], "when": [1]}}, "`when` must map parameters to values"),
        ({"a": {"choice": [1], "when": {"b": 1}}, "b": [1]}, r"`when` refers to 'b', .* Above it are: none"),
        ({"b": [1, 2], "a": {"choice": [1], "when": {"b": 3}}}, r"`when` waits for b = 3, which is none of \[1, 2\]"),
        ({"seed": [1]}, "parameter 'seed': the names seed and raysearch_block are raysearch's own"),
        ({"raysearch_block": [1]}, "are raysearch's own"),
        ({"a/b": [1]}, "parameter 'a/b': a name consists of letters"),
        ({"": [1]}, "a name consists of letters"),
        ({"a" * 101: [1]}, "at most 100 characters"),
        ({False: [1]}, "parameter False: a name consists of .*off are true and false in YAML"),
    ],
)  # fmt: skip
def test_a_wrong_space_is_refused_with_its_parameter_and_the_remedy(section, message):
    with pytest.raises(ExperimentError, match=message):
        parse(section)


def test_a_grid_that_no_search_could_finish_is_refused_at_once():
    with pytest.raises(ExperimentError, match=r"10000000000 combinations.*use another sampler"):
        next(parse({f"p{i}": list(range(10)) for i in range(10)}).enumerate())
    with pytest.raises(ExperimentError, match=r"parameter 'p': the range .* has 1000000001 values"):
        next(parse({"p": {"low": 0, "high": 10**9}}).enumerate())


def test_a_continuous_range_has_no_grid():
    with pytest.raises(ExperimentError, match=r"parameter 'lr': the range 0.1 to 0.5 has no step.*another sampler"):
        next(parse({"lr": {"low": 0.1, "high": 0.5}}).enumerate())


def test_every_configuration_appears_once():
    space = parse({"n": [1, 2], "x": {"choice": [1, 2, 3], "when": {"n": 2}}})
    configurations = list(space.enumerate())
    assert len(configurations) == 4
    for one, other in itertools.combinations(configurations, 2):
        assert one.id != other.id
