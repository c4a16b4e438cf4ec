import pytest

from raysearch.workloads._sources import sources


def draw(seed, vary):
    weights_seed, sampler = sources(seed, vary)
    return weights_seed, sampler.integers(2**60)


def test_the_same_seed_gives_the_same_sources():
    assert draw(7, "both") == draw(7, "both")


@pytest.mark.parametrize(
    ("vary", "weights_differ", "samples_differ"), [("weights", 1, 0), ("sample", 0, 1), ("both", 1, 1)]
)
def test_only_what_varies_differs(vary, weights_differ, samples_differ):
    drawn = [draw(seed, vary) for seed in (0, 1, 2**40, 2**62)]
    assert len({weights for weights, _ in drawn}) == (4 if weights_differ else 1)
    assert len({sample for _, sample in drawn}) == (4 if samples_differ else 1)


def test_one_source_is_the_same_whether_or_not_the_other_varies():
    assert draw(5, "both")[0] == draw(5, "weights")[0]
    assert draw(5, "both")[1] == draw(5, "sample")[1]
