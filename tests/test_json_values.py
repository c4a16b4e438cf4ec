"""What a user gives is what JSON gives back: from the first instance on, with every rule, and after a resume."""

import datetime
import enum
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysearch.errors import ExperimentError
from raysearch.json_values import as_json
from raysearch.records import Configuration


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


def test_a_value_becomes_what_json_gives_back():
    for value, plain in (
        ((3, 3), [3, 3]),
        ([(1, (2,)), {"a": (1,)}], [[1, [2]], {"a": [1]}]),
        (np.int64(3), 3),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(2), 2),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (None, None),
        (True, True),
        (1.0, 1.0),
        (10**30, 10**30),
        ("é中", "é中"),
        ({np.str_("a"): np.int8(1)}, {"a": 1}),
    ):
        found = as_json(value)
        assert found == plain == json.loads(json.dumps(found))
        assert repr(found) == repr(plain), f"{value!r} is of another type"


text = st.text(max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: (lists := st.lists(inner, max_size=3)) | lists.map(tuple) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)


@given(values)
def test_json_changes_nothing_any_more(value):
    found = as_json(value)
    assert repr(json.loads(json.dumps(found))) == repr(found)
    assert as_json(found) == found


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, r"nan \(float\) is no finite number"),
        ([1, [math.inf]], r"inf \(float\)"),
        (np.float64("nan"), r"\(float64\) is no finite number"),
        (1j, r"1j \(complex\)"),
        (datetime.date(2020, 1, 1), r"\(date\) is no finite number, text, truth value, or list or mapping"),
        (np.datetime64("2020-01-01"), r"\(datetime64\)"),
        (np.zeros(2), r"\(ndarray\) is no finite number.*: give its `.tolist\(\)`"),
        ({1}, r"\{1\} \(set\)"),
        (b"x", r"b'x' \(bytes\)"),
        ("\ud800", r"\(str\) is no finite number, text"),
        pytest.param(10**5000, r"\(int\) is no finite number", id="a number of 5000 digits"),
        ({3: "x"}, r"the key 3 \(int\) is no text"),
        ({"a": {True: 1}}, r"the key True \(bool\) is no text"),
        ({"\ud800": 1}, r"the key .* is no text"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_the_value(value, message):
    with pytest.raises(ExperimentError, match=message):
        as_json(value)
    with pytest.raises(ExperimentError, match=rf"parameter 'k': .*{message}"):
        Configuration.of({"k": value})


def test_a_list_in_itself_is_refused():
    rings = []
    rings.append(rings)
    with pytest.raises(ExperimentError, match=r"a list is nested too deeply, or holds itself"):
        as_json(rings)


def test_a_configuration_holds_plain_parameters_of_its_own():
    kernel, sizes = (3, np.int64(5)), [1, 2]
    configuration = Configuration.of({"kernel": kernel, "sizes": sizes})
    assert repr(dict(configuration.parameters)) == "{'kernel': [3, 5], 'sizes': [1, 2]}"
    assert configuration == Configuration.of({"sizes": [1, 2], "kernel": [3, 5]})
    configuration.parameters["sizes"].append(3)
    assert sizes == [1, 2]


def test_ids_are_those_of_journals_written_before():
    assert Configuration.of({"lr": 0.1, "fc": [64, 9], "act": "ReLU", "n": 3, "on": True}).id == "b383929630b6"


def test_a_parameter_is_named_by_text():
    with pytest.raises(ExperimentError, match=r"parameter 3: the name of a parameter must be text"):
        Configuration.of({3: 1})
