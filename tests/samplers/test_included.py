"""Known configurations take part from the start, whatever the sampler, and are checked against the space."""

import pytest

import raysearch
from raysearch.driver.run import build
from raysearch.errors import ExperimentError
from raysearch.experiment.experiment import from_data

SPACE = {
    "lr": {"low": 0.01, "high": 1.0, "log": True},
    "n": [1, 2, 3],
    "width": {"low": 4, "high": 64, "step": 4},
    "skip": {"choice": [True, False], "when": {"n": [2, 3]}},
}
KNOWN = [{"lr": 0.5, "n": 1, "width": 8}, {"n": 2, "lr": 0.02, "width": 64, "skip": True}]


def parts_of(include, sampler, space=None):
    section = {"defined_by": "space"} if callable(space) else space or SPACE
    data = {"workload": "synthetic", "space": section, "include": include, "sampler": sampler, "tracking": None}
    return build(from_data({**data, "rule": "halving"}), workload=Quiet(), space=space if callable(space) else None)


class Quiet:
    """A workload that takes every configuration."""

    def prepare(self):
        """Share nothing."""

    def check(self, parameters):
        """Take it."""

    def train(self, configuration, seeds, report, data=None):
        raise NotImplementedError


def by_function(trial):
    trial.suggest_float("lr", 0.01, 1.0, log=True)
    if trial.suggest_categorical("n", [1, 2, 3]) > 1:
        trial.suggest_categorical("skip", [True, False])
    trial.suggest_int("width", 4, 64, step=4)


@pytest.mark.parametrize("space", [None, by_function], ids=["a file's", "a function's"])
@pytest.mark.parametrize(
    "sampler", [{"name": "random", "n_configurations": 6}, {"name": "tpe", "n_configurations": 6, "wave": 4}]
)
def test_they_come_first_and_are_counted(sampler, space):
    parts = parts_of(KNOWN, sampler, space)
    first = [dict(one.parameters) for one in parts.first_wave]
    assert first[:2] == KNOWN
    assert len(first) == sampler.get("wave", 6)
    alone = parts_of([], sampler, space)
    assert first[2:] == [dict(one.parameters) for one in alone.first_wave][: len(first) - 2]


def test_tpe_learns_from_them_and_proposes_the_rest():
    told = []

    def train(config, seed):
        told.append(config)
        return abs(config["lr"] - 0.5) + 0.001 * (seed % 7)

    result = raysearch.search(
        train,
        space={"lr": {"low": 0.01, "high": 1.0}},
        include=[{"lr": 0.5}],
        sampler={"name": "tpe", "n_configurations": 6, "wave": 3},
        rule={"name": "halving", "warmup": 1},
        confirm=1,
        execution="local",
        tracking=None,
        progress=False,
    )
    assert told[0] == {"lr": 0.5}
    assert result.verdict.n_configurations == 6
    assert result.verdict.winner.parameters == {"lr": 0.5}


def test_a_grid_has_each_once_and_those_included_first():
    space = {"n": [1, 2, 3], "m": [1.0, 2.0]}
    parts = parts_of([{"n": 3, "m": 1}], "grid", space)
    assert dict(parts.first_wave[0].parameters) == {"n": 3, "m": 1.0}
    assert len({one.id for one in parts.first_wave}) == len(parts.first_wave) == 6


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ([{**KNOWN[0], "rate": 1}], r"include, configuration 1: unknown hyperparameter 'rate'.*lr"),
        ([KNOWN[1], {"lr": 0.5, "n": 1}], r"configuration 2: the hyperparameter 'width' is missing; given are lr, n"),
        ([{**KNOWN[0], "lr": 2.0}], r"lr = 2.0 is not a number from 0.01 to 1.0"),
        ([{**KNOWN[0], "n": 4}], r"n = 4 is none of \[1, 2, 3\]"),
        ([{**KNOWN[0], "width": 9}], r"width = 9 is not a whole number from 4 to 64 in steps of 4"),
        ([{**KNOWN[0], "lr": "fast"}], r"lr = 'fast' is not a number"),
        ([{**KNOWN[0], "skip": True}], r"'skip' exists only when \{'n': \(2, 3\)\}: leave it out"),
        ([KNOWN[0], KNOWN[1], KNOWN[0]], r"configuration 3: .* is there twice: leave one out"),
    ],
)
def test_what_is_not_of_the_space_is_named(include, message):
    with pytest.raises(ExperimentError, match=message):
        parts_of(include, {"name": "random", "n_configurations": 6})


def test_more_than_the_sampler_proposes_are_refused():
    with pytest.raises(ExperimentError, match="2 configurations, but the sampler's n_configurations is 1"):
        parts_of(KNOWN, {"name": "random", "n_configurations": 1})
