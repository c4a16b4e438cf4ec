"""Experiments as text: what is written is read back as it was, by this version and by the first one."""

import math

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raysearch.experiment import yaml_text

TEXTS = st.one_of(st.text(), st.sampled_from(["1e-4", "1E3", ".5e1", "yes", "no", "on", "010", "0o17", "1:30", "null"]))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS)
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8)


@settings(max_examples=200, deadline=None)
@given(DATA)
@example({"level": ["1e-4", 1e-4, 1e-5, 1e300, "2e+2", "1.0e-3"]})
def test_what_is_written_is_read_back_by_us_and_by_plain_pyyaml(data):
    text = yaml_text.dump(data)
    assert yaml_text.parse(text, "file") == data
    assert yaml.safe_load(text) == data


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_that_older_versions_wrote_are_read(number):
    assert yaml_text.parse(yaml.safe_dump([number]), "file") == [number]
    assert math.copysign(1, yaml_text.parse(f"x: {number!r}", "file")["x"]) == math.copysign(1, number)
