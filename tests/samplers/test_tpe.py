"""Optuna inside the race: waves, what it is told, conditions, constraints, several objectives, resuming."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from raysearch.criteria.median import Median
from raysearch.criteria.objectives import parse_all
from raysearch.criteria.q3 import Q3
from raysearch.driver import run
from raysearch.driver.resume import resume
from raysearch.driver.search import search
from raysearch.errors import ExperimentError, UnknownNameError
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.replay import simulate
from raysearch.experiment.experiment import from_data
from raysearch.race.race import Race
from raysearch.race.state import State
from raysearch.race.verdict import pareto
from raysearch.records import Configuration, InstanceKey, InstanceResult, Outcome, TrialRequest
from raysearch.rules.halving import Halving
from raysearch.samplers.random import Random
from raysearch.samplers.search_space import parse
from raysearch.samplers.space_function import FunctionSpace
from raysearch.samplers.tpe import Tpe, _suggest, _told
from raysearch.tracking.silent import Silent

SPACE = parse({"x": {"low": -5.0, "high": 5.0}, "y": {"low": -5.0, "high": 5.0}, "kind": [[1], [2, 3]]})


def answer(state: State, key: InstanceKey) -> InstanceResult:
    """A bowl with its bottom at (1, -2); the second kind is worse; the seed adds noise of 0.1."""
    p = state.configuration(key.configuration_id).parameters
    bowl = (p["x"] - 1) ** 2 + (p["y"] + 2) ** 2 + (p["kind"] != [1])
    return InstanceResult.of(key, float(bowl + np.random.default_rng(key.seed).normal(0, 0.1)))


def race_of(sampler: Any, seed: int = 0) -> Race:
    race = Race(sampler.bind(SPACE, seed, Q3()), Q3(), Halving(warmup=2), seed=seed)
    simulate(RaceRunner(race, Silent()), answer, 1)
    return race


def test_it_finds_better_configurations_than_chance_for_the_same_number() -> None:
    def best(sampler: Any, seed: int) -> float:
        race = race_of(sampler, seed)
        assert race.state.verdict is not None
        return float(Median()(race.state.pool.losses[race.state.verdict.leader]))

    guided = [best(Tpe(n_configurations=60, wave=10), seed) for seed in range(11)]
    chance = [best(Random(n_configurations=60), seed) for seed in range(11)]
    assert np.median(guided) < 0.5 * np.median(chance)


def test_every_wave_races_with_the_leader_so_far() -> None:
    race = race_of(Tpe(n_configurations=24, wave=8))
    assert race.state.wave == 3
    assert len(race.state.pool.configurations) == 24
    first = [row for _, _, rows in race.state.rounds for row in rows]
    assert max(first) == 23
    # rounds of later waves begin with 8 new configurations and one that raced before
    later = [rows for _, _, rows in race.state.rounds if len(rows) == 9]
    assert len(later) == 2
    assert all(min(rows) < 8 * (n + 1) for n, rows in enumerate(later))


def test_proposals_are_a_pure_function_of_the_outcomes() -> None:
    whole = race_of(Tpe(n_configurations=24, wave=8))
    outcomes = whole.state.pool.outcomes()
    ids = [c.id for c in whole.state.pool.configurations]
    again = Tpe(n_configurations=24, wave=8).bind(SPACE, 0, Q3())
    assert [c.id for c in again([])] == ids[:8]
    assert len(again(outcomes)) == 0
    assert [c.id for c in again(outcomes[:16])] == [c.id for c in again(outcomes[:16])]


def test_a_resumed_search_proposes_what_it_would_have_proposed(tmp_path: Path) -> None:
    data = {
        "workload": "synthetic",
        "space": {"level": {"low": 0.1, "high": 1.0}, "spread": {"low": 0.01, "high": 0.1}},
        "sampler": {"name": "tpe", "n_configurations": 12, "wave": 4},
        "rule": {"name": "halving", "warmup": 2},
        "race": {"confirm": 2},
        "execution": "local",
        "tracking": None,
    }
    whole = run(from_data(data), tmp_path / "whole")
    for n_lines in (25, 40):
        lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
        part = tmp_path / f"part{n_lines}"
        part.mkdir()
        (part / "journal.jsonl").write_bytes(b"".join(lines[:n_lines]))
        assert resume(part).verdict == whole.verdict


def test_what_optuna_is_told() -> None:
    configuration = Configuration.of({"x": 1.0, "y": 2.0, "kind": [2, 3]})
    kept = _told(SPACE, parse_all(["median"]), Outcome(configuration, (1.0, 2.0, 3.0), eliminated=False))
    assert (kept.state, kept.value) == (TrialState.COMPLETE, 2.0)
    pruned = _told(SPACE, parse_all(["median"]), Outcome(configuration, (1.0, 2.0, 3.0), eliminated=True))
    assert (pruned.state, pruned.intermediate_values) == (TrialState.PRUNED, {1: 1.0, 2: 1.5, 3: 2.0})
    diverged = _told(SPACE, parse_all(["median"]), Outcome(configuration, (math.inf, math.inf), eliminated=False))
    assert diverged.state == TrialState.COMPLETE
    assert diverged.value is not None
    assert diverged.value > 1e200


def test_conditions_and_constraints_hold() -> None:
    space = parse(
        {
            "n": [1, 2],
            "a": {"low": 1, "high": 64, "log": True},
            "b": {"choice": [1, 2, 3], "when": {"n": [2]}},
        },
        (("a_plus_b", lambda p: p["a"] + p.get("b", 0), 20.0),),
    )
    proposed = Tpe(n_configurations=30, wave=30).bind(space, 0, Median())([])
    assert len(proposed) == 30
    assert all(("b" in c.parameters) == (c.parameters["n"] == 2) for c in proposed)
    assert all(c.parameters["a"] + c.parameters.get("b", 0) <= 20 for c in proposed)


def test_impossible_constraints_are_an_error() -> None:
    space = parse({"x": {"low": 0.0, "high": 1.0}}, (("x", lambda p: p["x"], -1.0),))
    with pytest.raises(ExperimentError, match="no valid configuration among"):
        Tpe(n_configurations=2, wave=2).bind(space, 0, Median())([])


@pytest.mark.parametrize("algorithm", ["GPSampler", "RandomSampler", "QMCSampler"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_other_algorithms_of_optuna_by_name(algorithm: str) -> None:
    proposed = Tpe(n_configurations=4, wave=4, algorithm=algorithm).bind(SPACE, 0, Median())([])
    assert len({c.id for c in proposed}) == 4


def test_unknown_algorithm_and_objective_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'TPESampler'"):
        Tpe(algorithm="TPESample")
    with pytest.raises(ExperimentError, match="CmaEsSampler keeps a state of its own"):
        Tpe(algorithm="CmaEsSampler")
    with pytest.raises(UnknownNameError, match="Did you mean 'median'"):
        Tpe(objectives=("medain",))


def test_screened_out_configurations_are_bad_and_not_forgotten() -> None:
    configuration = Configuration.of({"x": 1.0, "y": 2.0, "kind": [2, 3]})
    assert _told(SPACE, parse_all(["median"]), Outcome(configuration, (), eliminated=True)).state == TrialState.PRUNED
    assert _told(SPACE, parse_all(["median"]), Outcome(configuration, (), eliminated=False)).state == TrialState.FAIL


def test_pareto_set_of_level_and_spread() -> None:
    losses = {
        "low-wide": (0.9, 1.0, 2.0),
        "high-narrow": (1.5, 1.51, 1.52),
        "beaten": (1.6, 1.8, 2.9),
        "once": (0.1,),
    }
    pool = [Configuration.of({"name": name}) for name in losses]
    race = Race(lambda outcomes: [] if outcomes else pool, Median(), Halving(warmup=3))
    for train in [event for event in race.ask(12) if isinstance(event, TrialRequest)]:
        values = losses[train.configuration.parameters["name"]]
        index = race.state.seeds.index(train.seeds[0])[1]
        if index < len(values):
            race.tell(InstanceResult.of(train.keys[0], values[index]))
    front = pareto(race.state, parse_all(["median", "iqr"]))
    names = [race.state.configuration(point.configuration_id).parameters["name"] for point in front]
    assert names == ["low-wide", "high-narrow"]
    assert front[0].values == pytest.approx((1.0, 0.55))
    assert [point.n_instances for point in front] == [3, 3]


def test_space_defined_by_running_a_function(tmp_path: Path) -> None:
    def space(trial: optuna.Trial) -> None:
        for layer in range(trial.suggest_int("n_layers", 1, 3)):
            trial.suggest_int(f"width{layer}", 4, 64, log=True)

    def train(config: dict[str, Any], seed: int) -> float:
        widths = [config[f"width{layer}"] for layer in range(config["n_layers"])]
        return abs(sum(widths) - 50) + seed % 7 / 10

    sampler = {"name": "tpe", "n_configurations": 12, "wave": 4, "objectives": ["median", "iqr"]}
    common = {"rule": {"name": "halving", "warmup": 2}, "confirm": 2, "execution": "local", "tracking": None}
    result = search(train, space=space, sampler=sampler, run_dir=tmp_path / "run", progress=False, **common)
    assert result.verdict.pareto
    assert result.verdict.objectives == ("median", "iqr")
    with pytest.raises(ExperimentError, match="defined by the Python function 'space'"):
        resume(tmp_path / "run", workload=train)
    assert resume(tmp_path / "run", workload=train, space=space).verdict == result.verdict
    with pytest.raises(ExperimentError, match="cannot be enumerated"):
        search(train, space=space, sampler="grid", run_dir=tmp_path / "grid", progress=False, **common)


@pytest.mark.parametrize("kind", ["section", "function"])
def test_a_proposal_at_a_bound_of_many_digits_stays_in_the_range(kind: str) -> None:
    """GPSampler proposes bounds themselves; twelve digits of 1/3 are less than 1/3."""
    low, high = 1 / 3, 2 / 3 - 1e-14
    assert float(f"{low:.12g}") < low
    assert float(f"{high:.12g}") > high
    section = parse({"x": {"low": low, "high": high}, "y": {"low": low, "high": 1.0, "step": 0.1}})

    def function(trial: Any) -> None:
        trial.suggest_float("x", low, high)
        trial.suggest_float("y", low, 1.0, step=0.1)

    space = section if kind == "section" else FunctionSpace(function)

    class AtTheBounds(optuna.samplers.RandomSampler):
        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> float:
            bounds = (param_distribution.low, param_distribution.high)
            return float(bounds[trial.number % 2])

    study = optuna.create_study(sampler=AtTheBounds())
    for _ in range(2):
        parameters = _suggest(space, study.ask())
        assert low <= parameters["x"] <= high
        told = _told(space, parse_all(["median"]), Outcome(Configuration.of(parameters), (1.0, 2.0), eliminated=False))
        assert told.params == parameters
    rounded = Configuration.of({"x": float(f"{high:.12g}"), "y": float(f"{low:.12g}")})  # of a journal written before
    assert _told(space, parse_all(["median"]), Outcome(rounded, (1.0,), eliminated=False)).params["x"] == high


def test_another_function_than_that_of_the_search_is_refused() -> None:
    def function(trial: Any) -> None:
        trial.suggest_categorical("kind", ["a", "b"])
        trial.suggest_float("x", 0, 1)

    for parameters, message in (({"kind": "a"}, "parameter 'x': .*not the function"), ({"kind": "c"}, "'c', none of")):
        outcome = Outcome(Configuration.of(parameters), (1.0,), eliminated=False)
        with pytest.raises(ExperimentError, match=message):
            _told(FunctionSpace(function), parse_all(["median"]), outcome)


def test_a_range_that_its_steps_do_not_fill_is_no_warning() -> None:
    space = parse({"n": {"low": 1, "high": 10, "step": 4}, "x": {"low": 0.1, "high": 1, "step": 0.25}})
    outcomes: list[Outcome] = []
    for _ in range(2):  # the second time they are told
        wave = Tpe(n_configurations=10, wave=5).bind(space, 0, Median())(outcomes)
        outcomes += [Outcome(configuration, (1.0,), eliminated=False) for configuration in wave]
    assert {outcome.configuration.parameters["n"] for outcome in outcomes} <= {1, 5, 9}
    assert {outcome.configuration.parameters["x"] for outcome in outcomes} <= {0.1, 0.35, 0.6, 0.85}
