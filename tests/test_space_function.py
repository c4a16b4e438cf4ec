"""A space that a function defines: the same names, values and bounds are allowed as in a file."""

import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysearch.criteria.median import Median
from raysearch.driver.search import search
from raysearch.errors import ExperimentError
from raysearch.samplers.random import Random
from raysearch.samplers.space_function import FunctionSpace
from raysearch.samplers.tpe import Tpe

SAMPLERS = [Random(n_configurations=2), Tpe(n_configurations=2, wave=2)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=["random", "tpe"])
@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("categorical", ("seed", [1, 2]), "parameter 'seed': the names seed and raysearch_block are raysearch's own"),
        ("int", ("raysearch_block", 1, 2), "are raysearch's own"),
        ("float", ("a/b", 0, 1), "parameter 'a/b': a name consists of letters"),
        ("float", (3, 0, 1), "parameter 3: a name consists of letters"),
        ("categorical", ("k", [datetime.date(2020, 1, 1)]), r"parameter 'k': .*\(date\) is no finite number"),
        ("categorical", ("k", [1, {3: 4}]), r"parameter 'k': the key 3 \(int\) is no text"),
        ("categorical", ("k", [math.nan]), r"nan \(float\) is no finite number"),
        ("categorical", ("k", []), "parameter 'k': there is nothing to choose from"),
        ("float", ("x", 0, math.inf), "parameter 'x': `high` must be a finite number, got inf"),
        ("float", ("x", "0", 1), "`low` must be a finite number, got '0'"),
        ("float", ("x", 2, 1), "`low` must not be above `high`, got 2 and 1"),
        ("int", ("n", 1, 2.5), "suggest_int needs whole numbers, got low 1, high 2.5"),
    ],
)
def test_what_a_file_could_not_hold_is_refused(sampler: Any, kind: str, arguments: Any, message: str) -> None:
    def function(trial: Any) -> None:
        getattr(trial, f"suggest_{kind}")(*arguments)

    with pytest.raises(ExperimentError, match=f"space function, .*{message}"):
        sampler.bind(FunctionSpace(function), 0, Median())([])


@pytest.mark.parametrize("sampler", SAMPLERS, ids=["random", "tpe"])
@pytest.mark.parametrize("more", [{"log": True}, {"step": 0.1, "log": True}, {"step": 0}], ids=str)
def test_ranges_have_the_rules_of_a_file(sampler: Any, more: dict[str, Any]) -> None:
    message = "a log range needs `low` above 0" if "log" in more else "`step` must be positive, got 0"
    with pytest.raises(ExperimentError, match=message):
        sampler.bind(FunctionSpace(lambda trial: trial.suggest_float("x", 0, 1, **more)), 0, Median())([])


@pytest.mark.parametrize("sampler", [Random(20), Tpe(20, 20)], ids=["random", "tpe"])
def test_any_value_may_be_a_category_and_the_function_gets_its_own_back(sampler: Any) -> None:
    offered: list[Any] = [(3, 3), [5], {"a": (1,)}, None, True, 1, 1.0, "1", np.int64(7)]
    kept = {repr(value) for value in ([3, 3], [5], {"a": [1]}, None, True, 1, 1.0, "1", 7)}

    def function(trial: Any) -> None:
        own = trial.suggest_categorical("k", offered)
        assert any(own is value for value in offered)
        assert trial.suggest_categorical("k", offered) is own, "asked twice"
        assert trial.suggest_int("one", np.int64(1), 1) == 1
        assert 1 <= trial.suggest_int("n", 1, 64, log=True) <= 64
        trial.suggest_float("x", 0, 1)

    proposed = sampler.bind(FunctionSpace(function), 0, Median())([])
    assert len(proposed) == 20
    assert {repr(configuration.parameters["k"]) for configuration in proposed} <= kept
    assert {type(configuration.parameters["n"]) for configuration in proposed} == {int}


def test_a_constraint_sees_what_the_training_sees() -> None:
    def function(trial: Any) -> None:
        trial.suggest_categorical("k", [(1, 2), (3, 4)])

    space = FunctionSpace(function, (("first", lambda p: p["k"][0] if isinstance(p["k"], list) else math.inf, 1.0),))
    (only,) = Random(n_configurations=1).bind(space, 0)([])
    assert only.parameters == {"k": [1, 2]}


def test_a_search_refuses_a_parameter_named_seed_before_anything_is_made(tmp_path: Path) -> None:
    def train(config: dict[str, Any], seed: int) -> float:
        return 0.5

    with pytest.raises(ExperimentError, match="'seed': the names seed and raysearch_block are raysearch's own"):
        search(
            train,
            space=lambda trial: trial.suggest_int("seed", 0, 9),
            sampler={"name": "random", "n_configurations": 2},
            run_dir=tmp_path / "run",
            execution="local",
            tracking=None,
            progress=False,
        )
    assert not (tmp_path / "run").exists()
