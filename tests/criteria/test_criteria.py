"""Known answers, against numpy and scipy where these have the statistic."""

import math

import numpy as np
import pytest
from scipy import stats

from raysearch import registry

LOSSES = np.array([0.31, 0.12, 0.55, 0.27, 0.18, 0.94, 0.22])
REFERENCES = {
    "mean": np.mean,
    "median": np.median,
    "q3": lambda x: np.quantile(x, 0.75),
    "iqr": lambda x: np.subtract(*np.quantile(x, [0.75, 0.25])),
    "q3_plus_iqr": lambda x: np.quantile(x, 0.75) + stats.iqr(x),
    "max": np.max,
    "min": np.min,
    "std": lambda x: np.std(x, ddof=1),
    "quantile": lambda x: np.quantile(x, 0.9),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_numpy_and_scipy_say_the_same(name):
    for n in (2, 3, 4, 5, 7):
        expected = pytest.approx(REFERENCES[name](LOSSES[:n]), rel=1e-12)
        assert registry.load("criteria", name)(LOSSES[:n]) == expected, n


def test_every_criterion_has_a_known_answer_here():
    assert set(registry.names("criteria")) <= {*REFERENCES, "cvar"}


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.5, (4 + 3) / 2),
        (0.25, 4.0),
        (0.01, 4.0),  # never less than one instance
        (1.0, 2.5),
        (0.375, (4 + 0.5 * 3) / 1.5),  # one and a half instances
    ],
)
def test_cvar_is_the_mean_of_the_worst_share(alpha, expected):
    assert registry.load("criteria", "cvar", alpha=alpha)(np.array([2.0, 4.0, 1.0, 3.0])) == pytest.approx(expected)


def test_one_instance_says_nothing_of_its_spread():
    assert registry.load("criteria", "std")(np.array([0.3])) == math.inf
    assert registry.load("criteria", "q3_plus_iqr")(np.array([0.3])) == 0.3


def test_one_diverged_instance_of_eight_leaves_the_quantiles_below_it_finite():
    losses = np.array([*np.arange(7.0), math.inf])
    finite = {"median": 3.5, "q3": 5.25, "min": 0.0, "q3_plus_iqr": 2 * 5.25 - 1.75}
    for name, value in finite.items():
        assert registry.load("criteria", name)(losses) == value
    for name in ("mean", "max", "std", "cvar", "quantile"):
        assert registry.load("criteria", name)(losses) == math.inf


@pytest.mark.parametrize(
    ("name", "parameter", "values"), [("quantile", "q", (-0.1, 1.1, math.nan)), ("cvar", "alpha", (0.0, 1.5, math.nan))]
)
def test_a_share_out_of_range_is_refused_with_its_value(name, parameter, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"{parameter} must be .* got {value}"):
            registry.load("criteria", name, **{parameter: value})


def test_the_quantile_generalises_median_q3_min_and_max():
    for q, name in ((0.0, "min"), (0.5, "median"), (0.75, "q3"), (1.0, "max")):
        assert registry.load("criteria", "quantile", q=q)(LOSSES) == registry.load("criteria", name)(LOSSES)


@pytest.mark.parametrize("name", registry.names("criteria"))
def test_losses_at_the_ends_of_floating_point_warn_of_nothing(name):
    for losses in ([1e300, 3e300, 2e300], [1.7e308] * 4, [-8e307, 8e307, 8e307]):
        value = float(registry.load("criteria", name)(np.array(losses)))
        assert value == math.inf or math.isfinite(value), losses


@pytest.mark.parametrize("name", sorted(registry.names("criteria")))
def test_few_losses_and_many_come_to_the_same(name):
    """Few are counted without arrays; decisions rest on comparisons of the two."""
    criterion, g = registry.load("criteria", name), np.random.default_rng(0)
    for _ in range(300):
        few = g.normal(size=(g.integers(1, 5), g.integers(1, 12))).round(g.integers(0, 9))
        few[g.random(few.shape) < g.choice([0.0, 0.3, 0.9])] = np.nan
        few[g.random(few.shape) < g.choice([0.0, 0.2])] = np.inf
        many = criterion(np.tile(few, (80, 1)))[: len(few)]
        np.testing.assert_array_equal(criterion(few), many)
        np.testing.assert_array_equal([criterion(row) for row in few], many)
