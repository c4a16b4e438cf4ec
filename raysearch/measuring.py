"""Measures of a search: which are asked for, on the workers or at the end, and carrying them out on kept weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch import registry
from raysearch.errors import ExperimentError, unknown
from raysearch.findings import Finding, array_path
from raysearch.objectives import Objective
from raysearch.race import Writer
from raysearch.records import Configuration, InstanceKey, Phase
from raysearch.state import State
from raysearch.tracking import _keeper
from raysearch.workloads._measured import Measured

Section = str | dict[str, Any]
OF = ("winner", "survivors", "all")
N_INSTANCES = 20
"""At most so many instances of a configuration are measured at the end."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One measure of an experiment, and of whom: the winner, the survivors or all configurations."""

    name: str
    measure: Any
    of: str

    @property
    def on_workers(self) -> bool:
        """Whether every instance is measured where it was trained."""
        return self.of == "all" and self.measure.over == "instance"


def asked(sections: Sequence[Section]) -> list[Asked]:
    """Return the measures that sections name: `curvature`, or `{name: curvature, n_examples: 256, of: survivors}`.

    `of` is `winner` unless given. Raises ExperimentError for what is unknown, or named twice.
    """
    found: list[Asked] = []
    for section in sections:
        values = {"name": section} if isinstance(section, str) else dict(section)
        of = values.pop("of", "winner")
        if of not in OF:
            raise unknown("group of configurations (`of` in measures)", of, OF)
        measure = registry.load_section("measures", values)
        if values["name"] in [one.name for one in found]:
            raise ExperimentError(f"measures: {values['name']!r} is named twice")
        found.append(Asked(values["name"], measure, of))
    return found


def instrumented(
    workload: Any, measures: Sequence[Asked], criterion: Objective, objectives: Sequence[Objective] = ()
) -> Any:
    """Return the workload, wrapped where its instances are to be measured on the workers.

    Raises ExperimentError where measures are asked of a workload that cannot be measured, or one with two settings.
    """
    on_workers = {one.name: one.measure for one in measures if one.on_workers}
    for objective in (criterion, *objectives):
        for name, measure in objective.measures.items():
            if on_workers.setdefault(name, measure) != measure:
                raise ExperimentError(f"{name} is asked for with different parameters; an instance is measured once")
    if (measures or on_workers) and not hasattr(workload, "instrument"):
        able = [
            name for name in registry.names("workloads") if hasattr(registry.plugin("workloads", name), "instrument")
        ]
        raise ExperimentError(
            f"{type(workload).__name__} has no `instrument` method and cannot be measured; these can: {', '.join(able)}"
        )
    beside = tuple(objective.metric for objective in objectives if objective.metric is not None)
    if criterion.metric is None and not beside and not on_workers:
        return workload
    return Measured(workload, on_workers, criterion.metric, beside)


def keepers(measures: Sequence[Asked]) -> list[_keeper.Keeper]:
    """Return the tracker that keeps the weights measures will need, if any will."""
    later = [one for one in measures if not one.on_workers]
    return [_keeper.Keeper(any(one.of == "all" for one in later))] if later else []


def told(names: Sequence[str], state: State) -> list[Finding]:
    """Return what instances that were measured on the workers told: of each, and of configurations over theirs.

    `names` are measures; their numbers are among the metrics of the instances, as `NAME.NUMBER`. The leader is first.
    """
    findings: list[Finding] = []
    leader = -1 if state.verdict is None else state.verdict.leader
    rows = sorted(range(len(state.pool.configurations)), key=lambda row: row != leader)
    for name in names:
        for row in rows:
            configuration = state.pool.configurations[row]
            own = [
                Finding(name, configuration.id, seed, numbers)
                for seed, metrics in state.metrics(row).items()
                if (numbers := _own(metrics, f"{name}."))
            ]
            if own:
                whole = _means(own).numbers
                findings += [*own, Finding(name, configuration.id, None, whole, n_instances=len(own))]
    return findings


def _own(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}


def carry_out(
    measures: Sequence[Asked], workload: Any, state: State, journal: Writer | None, run_dir: Path
) -> list[Finding]:
    """Measure the kept instances of a finished race on test examples; each finding is in the journal when it returns.

    A measure that fails is a finding with its error: the race is over and must not be lost by it.
    """
    later = [one for one in measures if not one.on_workers]
    if not later or state.verdict is None:
        return []
    bench = _Bench(workload, workload.prepare(), state, run_dir)
    findings: list[Finding] = []
    for one in later:
        for configuration in _group(one.of, state):
            try:
                new = list(bench.measure(one, configuration))
            except Exception as error:
                _log.warning("%s of %s cannot be measured: %s", one.name, configuration.id, error)
                new = [Finding(one.name, configuration.id, None, {}, error=f"{type(error).__name__}: {error}")]
            for finding in new:
                if journal is not None:
                    journal.append(finding.event())
            findings += new
    return findings


class _Bench:
    """Loads kept instances and measures them."""

    def __init__(self, workload: Any, data: Any, state: State, run_dir: Path) -> None:
        self.workload, self.data, self.state, self.run_dir = workload, data, state, run_dir

    def measure(self, one: Asked, configuration: Configuration) -> Iterator[Finding]:
        """Yield the findings of each instance and, with seed None, of all of them; raises ValueError without any."""
        kept = self._chosen(configuration)
        if not kept:
            raise ValueError("no weights of its instances were kept")
        subjects = {seed: self._subject(configuration, seed, path) for seed, path in kept.items()}
        if one.measure.over == "instances":
            from raysearch.measures._subjects import told

            found = one.measure(np.stack([told(s) for s in subjects.values()]), _targets(subjects))
        else:
            founds = []
            for seed, subject in subjects.items():
                founds.append(one.measure(subject))
                yield Finding(one.name, configuration.id, seed, founds[-1].numbers)
            summarize = getattr(one.measure, "summarize", _means)
            found = summarize(founds)
        self._keep(one.name, configuration.id, found.arrays)
        yield Finding(one.name, configuration.id, None, found.numbers, found.tables, len(kept))

    def _chosen(self, configuration: Configuration) -> dict[int, Path]:
        """Return kept weights by seed: of fresh-seed instances where there are several, else of the race's."""
        kept = _keeper.kept(self.run_dir, configuration.id)
        by_phase: dict[Phase, dict[int, tuple[int, Path]]] = {Phase.RACE: {}, Phase.CONFIRMATION: {}}
        for seed, path in kept.items():
            phase, index = self.state.seeds.index(InstanceKey(configuration.id, seed).seed)
            by_phase[phase][index] = (seed, path)
        fresh = by_phase[Phase.CONFIRMATION]
        ordered = sorted((fresh if len(fresh) > 1 else by_phase[Phase.RACE] or fresh).items())
        return dict(pair for _, pair in ordered[:N_INSTANCES])

    def _subject(self, configuration: Configuration, seed: int, path: Path) -> Any:
        return self.workload.instrument(configuration.parameters, path.read_bytes(), seed, self.data, "test")

    def _keep(self, measure: str, configuration_id: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        if arrays:
            path = array_path(self.run_dir, measure, configuration_id)
            path.parent.mkdir(exist_ok=True)
            aside = path.with_name(f".{path.name}")
            with open(aside, "wb") as file:
                np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]
            aside.replace(path)


def _group(of: str, state: State) -> list[Configuration]:
    """Return the configurations to measure, the leader first."""
    verdict = state.verdict
    if verdict is None:
        return []
    rows = [verdict.leader]
    if of == "survivors":  # a rule that states a confidence drops nobody, but says who may be the best
        rows += [*verdict.indistinguishable, *(state.survivors if verdict.certified is None else ())]
    elif of == "all":
        rows += range(len(state.pool.configurations))
    return [state.pool.configurations[row] for row in dict.fromkeys(int(row) for row in rows)]


def _targets(subjects: Mapping[int, Any]) -> NDArray[Any]:
    first = next(iter(subjects.values()))
    return np.asarray(first.targets)


def _means(founds: Sequence[Any]) -> Any:
    """Return the mean of every number over instances and, as `NAME_std`, its sample standard deviation."""
    from raysearch.measures import Found

    names = list(dict.fromkeys(name for found in founds for name in found.numbers))
    numbers: dict[str, float] = {}
    for name in names:
        values = np.asarray([found.numbers[name] for found in founds if name in found.numbers])
        numbers[name] = float(values.mean())
        if len(values) > 1:
            if f"{name}_std" in names:
                raise ValueError(f"a measure's number {name}_std is in the way of the spread of {name} over instances")
            numbers[f"{name}_std"] = float(values.std(ddof=1))
    return Found(numbers)
