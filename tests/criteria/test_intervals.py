import math
import warnings

import numpy as np
import pytest
from scipy import stats

from raysearch.criteria.intervals import all_bounds, bounds, confidence_interval
from raysearch.criteria.max import Max
from raysearch.criteria.mean import Mean
from raysearch.criteria.median import Median
from raysearch.criteria.q3 import Q3
from raysearch.criteria.std import Std


def test_mean_of_many_normal_losses_agrees_with_students_interval():
    losses = np.random.default_rng(1).normal(0.5, 0.1, 400)
    interval = confidence_interval(losses, Mean(), np.random.default_rng(2), n_resamples=8000)
    low, high = stats.t.interval(0.95, 399, losses.mean(), losses.std(ddof=1) / 20)
    assert interval.method == "BCa"
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.0008)


@pytest.mark.parametrize(("criterion", "truth"), [(Mean(), 1.4), (Median(), stats.gamma(2, scale=0.7).median())])
def test_nine_of_ten_intervals_at_90_percent_cover_the_truth(criterion, truth):
    rng = np.random.default_rng(3)
    n, covered = 120, 0
    for _ in range(n):
        interval = confidence_interval(rng.gamma(2, 0.7, 60), criterion, rng, level=0.9, n_resamples=300)
        covered += interval.low <= truth <= interval.high
    # binomial: 120 draws at .9 lie within .825 and .967 in 99 of 100 runs; the generator is fixed
    assert 0.825 <= covered / n <= 0.967


def test_same_generator_same_interval_whatever_the_order_of_losses():
    losses = np.random.default_rng(1).gamma(2, 1, 30)
    first, again = (confidence_interval(row, Q3(), np.random.default_rng(5)) for row in (losses, losses[::-1]))
    assert first == again


def test_diverged_instances_reach_into_the_interval_without_a_warning():
    losses = np.concatenate([np.linspace(1, 2, 30), [math.inf] * 6])
    interval = confidence_interval(losses, Q3(), np.random.default_rng(0))
    assert interval.method == "percentile"
    assert 1.4 < interval.low < 2
    assert interval.high <= 2 or math.isinf(interval.high)
    worse = np.concatenate([np.linspace(1, 2, 30), [math.inf] * 9])
    assert math.isinf(confidence_interval(worse, Q3(), np.random.default_rng(0)).high)
    assert confidence_interval([math.inf] * 5, Q3(), np.random.default_rng(0)).low == math.inf


def test_equal_losses_have_an_interval_of_no_width():
    interval = confidence_interval([0.3] * 10, Q3(), np.random.default_rng(0))
    assert (interval.low, interval.high) == (0.3, 0.3)
    assert not interval.extreme


@pytest.mark.parametrize("losses", [[], [0.5], [0.5, math.nan]])
def test_fewer_than_two_instances_have_no_interval(losses):
    interval = confidence_interval(losses, Q3(), np.random.default_rng(0))
    assert not interval.known
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_a_maximum_is_marked_as_extreme():
    losses = np.random.default_rng(1).gamma(2, 1, 30)
    interval = confidence_interval(losses, Max(), np.random.default_rng(0))
    assert interval.extreme
    assert interval.high <= losses.max()
    assert not confidence_interval(losses, Median(), np.random.default_rng(0)).extreme


def test_std_of_two_has_no_jackknife_and_still_answers():
    interval = confidence_interval([0.1, 0.2], Std(), np.random.default_rng(0))
    assert interval.method == "percentile"
    assert interval.low == 0


@pytest.mark.parametrize("setting", [{"level": 1.0}, {"level": 0.0}, {"n_resamples": 10}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        confidence_interval([1.0, 2.0], Q3(), np.random.default_rng(0), **setting)


@pytest.mark.parametrize("criterion", [Mean(), Median(), Q3(), Max(), Std()])
@pytest.mark.parametrize("n", [2, 3, 5, 8, 9, 17, 100])
def test_the_ends_are_those_of_scipys_bootstrap(criterion, n):
    losses = np.sort(np.random.default_rng(n).gamma(2, 0.7, n))

    def in_order(sample):  # of few losses a resample may well be the sample: then its mean is, to the last bit
        return np.sort(sample, axis=-1) if n < 9 else sample

    found = confidence_interval(losses, criterion, np.random.default_rng(7), n_resamples=500)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = stats.bootstrap(
                (losses,),
                lambda sample, axis: criterion(in_order(np.moveaxis(sample, axis, -1))),
                n_resamples=500,
                method="BCa",
                rng=np.random.default_rng(7),
            ).confidence_interval
        except ValueError:
            wanted = (math.nan, math.nan)
    if np.isfinite(wanted).all():
        assert (found.low, found.high) == pytest.approx(tuple(wanted), rel=1e-9)
    else:
        assert found.method == "percentile"


@pytest.mark.parametrize("criterion", [Mean(), Median(), Q3(), Max(), Std()])
def test_the_intervals_of_many_are_those_of_each(criterion):
    generator = np.random.default_rng(4)
    losses = generator.gamma(2, 0.7, (60, 11))
    losses[generator.random(losses.shape) < 0.05] = math.inf
    for row, n in enumerate(generator.integers(0, 12, 60)):
        losses[row, generator.permutation(11)[n:]] = math.nan  # each of its own number, whatever did not run
    losses[:4, :5] = 0.3  # without a spread
    together = all_bounds(losses, criterion)
    for row, ends in zip(losses, together, strict=True):
        alone = confidence_interval(row, criterion, np.random.default_rng(0))
        assert ends == (pytest.approx((alone.low, alone.high), rel=1e-12, nan_ok=True) if alone.known else None)
        assert ends == (pytest.approx(bounds(row, criterion), rel=1e-12, nan_ok=True) if alone.known else None)
    assert {ends is None for ends in together} == {True, False}
    assert all_bounds(np.empty((0, 5)), criterion) == []
    assert all_bounds(np.empty((2, 0)), criterion) == [None, None]


def test_thousands_of_configurations_are_taken_together():
    asked, losses = [], np.random.default_rng(1).gamma(2, 1, (6912, 5))

    def counting(rows):
        asked.append(rows.shape)
        return Q3()(rows)

    found = all_bounds(losses, counting)
    assert len(asked) < 100
    assert sum(shape[0] * shape[1] for shape in asked if len(shape) == 3) < 6912 * 140, "equal resamples count once"
    assert None not in found
    assert (
        np.mean([low <= row.max() and high >= row.min() for (low, high), row in zip(found, losses, strict=True)]) == 1
    )
