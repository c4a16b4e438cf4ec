"""Searches from a script or a notebook, over any model of the user."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raysearch.driver.run import Parts, SearchResult, build, start
from raysearch.errors import ExperimentError
from raysearch.experiment.experiment import DEFINED_BY, from_data
from raysearch.experiment.sections import given, named
from raysearch.workloads import Workload

EACH, CERTIFY = 6, 20
"""The default rule's budget, in instances: see benchmarks/selection.py."""
_ITEMS = {"include": "configurations", "learn_from": "run directories"}


def search(
    train: Any,
    *,
    space: Mapping[str, Any] | Callable[[Any], Any],
    train_many: Any = None,
    criterion: Any = "median",
    rule: Any = None,
    sampler: Any = "grid",
    include: Sequence[Mapping[str, Any]] = (),
    learn_from: Sequence[str | Path] = (),
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
        train_many: a function `train_many(config, seeds)` that gives a list of what `train` gives: seeds of one
            configuration then train in packs (`execution: {pack: 64}` or `auto`). Where it raises, `train` is called.
        space: parameters as in an experiment file: `{"lr": [0.1, 0.01], "depth": {"low": 1, "high": 8}}`,
            or a function `space(trial)` that asks Optuna's trial for them (samplers random and tpe). The parameters
            that `train` gets are what JSON gives back, in a resumed search too: a tuple is a list there, a number of
            NumPy one of Python.
        criterion: name, section or plug-in object; likewise `rule`, `sampler`, `execution` and `tracking`.
        rule: None is `top_two`, through a window of twice the slots at the start, which certifies its winner or
            ends at about the cost of the paper's Algorithm 1: six instances per configuration, and twenty. With a
            sampler that proposes in waves it gives no configuration more than twenty.
        include: known configurations, `[{"lr": 0.1, "depth": 3}]`, that take part from the start, with every sampler.
        learn_from: run directories of earlier searches of the same workload: they teach the rule `surrogate` and the
            sampler `tpe`; where settings and seed are the same, too, nothing is trained again.
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

    workload, section, its_name = _trained(train, train_many)
    plugins = {"criterion": criterion, "sampler": sampler, "execution": execution, "tracking": tracking}
    experiment = from_data(
        {
            **{key: given(key, value) for key, value in plugins.items()},
            # a section without a name has another default here than in a file
            "rule": named("rule", rule)
            if isinstance(rule, Mapping)
            else given("rule", "halving" if rule is None else rule),
            "measures": [given("measures", one) for one in _listed(measures)],
            "include": [_mapping(one, "include") for one in _listed(include, "include")],
            "learn_from": [str(one) for one in _listed(learn_from, "learn_from")],
            "name": name or its_name,
            "seed": seed,
            "workload": section,
            "space": {DEFINED_BY: getattr(space, "__name__", "space")} if callable(space) else _mapping(space),
            "race": {"confirm": confirm, **race},
        }
    )
    parts = build(experiment, workload, space if callable(space) else None)
    if rule is None:
        parts = parts.with_rule(_default_rule(parts))
    return start(parts, None if run_dir is None else Path(run_dir), [Terminal()] if progress else [])


def _trained(train: Any, many: Any = None) -> tuple[Workload | None, Any, str]:
    """Return the workload, None where its section makes it; that section; and how the search is called without a name.

    Raises ExperimentError for the class of a workload, or an object that is only in part one.
    """
    from raysearch.workloads.function import Function

    called = train if isinstance(train, str) else getattr(train, "__name__", "search")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", called).strip("_.-")[:100] or "search"  # <lambda>, _fit, über
    if isinstance(train, str | Mapping):
        if many is not None:
            raise ExperimentError(
                "train_many stands beside a function `train(config, seed)`, not beside a workload's name"
            )
        return None, given("workload", train), name
    if isinstance(train, type) and hasattr(train, "prepare"):
        raise ExperimentError(f"train: {train.__name__} is the class of a workload: make an object, {train.__name__}()")
    if hasattr(train, "prepare") and not isinstance(train, Workload):
        missing = " and no ".join(f"`{method}`" for method in ("train", "check") if not hasattr(train, method))
        raise ExperimentError(f"train: {type(train).__name__} has a `prepare`, as workloads have, but no {missing}")
    if many is not None and (isinstance(train, Workload) or inspect.isclass(train)):
        raise ExperimentError("train_many stands beside a function `train(config, seed)`; a workload has `train_pack`")
    workload = train if isinstance(train, Workload) else Function(train, many)
    return workload, {"name": "function", "fn": name}, name


def _default_rule(parts: Parts) -> dict[str, Any]:
    """Return the section of the rule that `search` takes where none is named."""
    n = parts.n_configurations
    in_waves = len(parts.first_wave) < n
    limit = {"cap": CERTIFY} if in_waves else {"budget": EACH * n + CERTIFY}
    return {"name": "top_two", **limit}


def _listed(value: Any, what: str = "measures") -> list[Any]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        of = _ITEMS.get(what, "names, sections or plug-in objects")
        raise ExperimentError(f"{what} must be a list of {of}, got {value!r:.80}")
    return list(value)


def _mapping(value: Any, what: str = "space") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        also = "" if what == "include" else ", or be a function of a trial"
        raise ExperimentError(f"{what} must map names to values{also}, got {value!r:.80}")
    return dict(value)
