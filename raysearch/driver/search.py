"""Searches from a script or a notebook, over any model of the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raysearch.driver.run import SearchResult, plan, run
from raysearch.errors import ExperimentError
from raysearch.experiment.experiment import DEFINED_BY, from_data
from raysearch.experiment.sections import given, named

EACH, CERTIFY = 6, 20
"""The default rule's budget, in instances: see benchmarks/selection.py."""


def search(
    train: Any,
    *,
    space: Mapping[str, Any] | Callable[[Any], Any],
    criterion: Any = "median",
    rule: Any = None,
    sampler: Any = "grid",
    measures: Sequence[Any] = (),
    confirm: int = 20,
    seed: int = 0,
    name: str | None = None,
    run_dir: str | Path | None = None,
    execution: Any = "ray_tune",
    tracking: Any = "mlflow",
    progress: bool = True,
    **race: Any,
) -> SearchResult:
    """Find the robust configuration of any model: `train(config, seed) -> loss`.

    Args:
        train: a function (or generator of per-epoch losses, or Tune class), a workload object, or a workload's name.
        space: parameters as in an experiment file: `{"lr": [0.1, 0.01], "depth": {"low": 1, "high": 8}}`,
            or a function `space(trial)` that asks Optuna's trial for them (samplers random and tpe). The parameters
            that `train` gets are what JSON gives back, in a resumed search too: a tuple is a list there, a number of
            NumPy one of Python.
        criterion: name, section or plug-in object; likewise `rule`, `sampler`, `execution` and `tracking`.
        rule: None is `top_two`, through a window of twice the slots at the start, which certifies its winner or
            ends at about the cost of the paper's Algorithm 1: six instances per configuration, and twenty. With a
            sampler that proposes in waves it gives no configuration more than twenty.
        measures: what instances tell beside the loss, e.g. `["curvature", {"name": "adversarial", "of": "all"}]`; for
            workloads that can be measured.
        confirm: fresh-seed instances of the winner.
        seed: root of every random choice.
        name: of the search and of its MLflow experiment; the function's own by default.
        run_dir: where the journal and the results go; `runs/NAME-TIME` by default.
        progress: show the live view.
        **race: further settings of the race section: block, retries, ahead, on_failure, exhaustive.

    Raises:
        ExperimentError: something asked for is unknown or out of range; nothing was trained.
    """
    from raysearch.tracking.terminal import Terminal
    from raysearch.workloads.function import Function

    if isinstance(train, type) and hasattr(train, "prepare"):
        raise ExperimentError(f"train: {train.__name__} is the class of a workload: make an object, {train.__name__}()")
    by_name = isinstance(train, str | Mapping)
    workload = None if by_name else train if hasattr(train, "prepare") else Function(train)
    called = train if isinstance(train, str) else getattr(train, "__name__", "search")
    default_name = re.sub(r"[^A-Za-z0-9._-]+", "-", called).strip("_.-")[:100] or "search"  # <lambda>, _fit, über
    sections = {
        "criterion": criterion,
        "rule": rule or "halving",
        "sampler": sampler,
        "execution": execution,
        "tracking": tracking,
    }
    data = {key: given(key, value) for key, value in sections.items()}
    if isinstance(rule, Mapping):  # whose default here is not that of a file
        data["rule"] = named("rule", rule)
    of_user = {"workload": workload, "space": space if callable(space) else None}
    experiment = from_data(
        {
            **data,
            "measures": [given("measures", one) for one in _listed(measures)],
            "name": name or default_name,
            "seed": seed,
            "workload": given("workload", train) if by_name else {"name": "function", "fn": default_name},
            "space": {DEFINED_BY: getattr(space, "__name__", "space")} if callable(space) else _mapping(space),
            "race": {"confirm": confirm, **race},
        }
    )
    if rule is None:
        planned = plan(experiment, **of_user)
        in_waves = planned.wave < planned.n_configurations
        limit = {"cap": CERTIFY} if in_waves else {"budget": EACH * planned.n_configurations + CERTIFY}
        experiment = experiment.with_values({"rule": {"name": "top_two", **limit}})
    watchers = [Terminal()] if progress else []
    return run(
        experiment,
        None if run_dir is None else Path(run_dir),
        watchers=watchers,
        **of_user,
    )


def _listed(measures: Any) -> list[Any]:
    if isinstance(measures, str | Mapping) or not isinstance(measures, Iterable):
        raise ExperimentError(f"measures must be a list of names, sections or plug-in objects, got {measures!r:.80}")
    return list(measures)


def _mapping(space: Any) -> dict[str, Any]:
    if not isinstance(space, Mapping):
        raise ExperimentError(f"space must map names to values, or be a function of a trial, got {space!r:.80}")
    return dict(space)
