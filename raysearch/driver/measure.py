"""Measuring: what instances told on the workers, and what is measured at the end, on kept weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.experiment.measures import Asked
from raysearch.race.race import Race
from raysearch.race.state import State
from raysearch.records import Configuration, InstanceKey, Phase
from raysearch.storage.events import Measured
from raysearch.storage.measurements import array_path
from raysearch.storage.whole_file import whole
from raysearch.tracking import _weight_callback

N_INSTANCES = 20
"""At most so many instances of a configuration are measured at the end."""
_log = logging.getLogger(__name__)


def keepers(measures: Sequence[Asked]) -> list[_weight_callback.WeightCallback]:
    """Return the tracker that keeps the weights measures will need, if any will."""
    later = [one for one in measures if not one.on_workers]
    return [_weight_callback.WeightCallback(any(one.of == "all" for one in later))] if later else []


def measured_on_workers(names: Sequence[str], state: State) -> list[Measured]:
    """Return what instances that were measured on the workers told: of each, and of configurations over theirs.

    `names` are measures; their numbers are among the metrics of the instances, as `NAME.NUMBER`. The leader is first.
    """
    measured: list[Measured] = []
    leader = -1 if state.winner is None else state.winner
    rows = sorted(range(len(state.pool.configurations)), key=lambda row: row != leader)
    for name in names:
        for row in rows:
            configuration = state.pool.configurations[row]
            own = [
                Measured(name, configuration.id, seed, numbers)
                for seed, metrics in _metrics(state, row).items()
                if (numbers := _own(metrics, f"{name}."))
            ]
            if own:
                whole = _means(own).numbers
                measured += [*own, Measured(name, configuration.id, None, whole, n_instances=len(own))]
    return measured


def _metrics(state: State, row: int) -> dict[int, Mapping[str, float]]:
    """Return what the instances of a row told beside the loss, by seed, those of the race first."""
    seed, raced, fresh = state.seeds.seed, state.pool.metrics(row), state.confirmations.results.get(row, {})
    of_race = {seed(Phase.RACE, column): metrics for column, metrics in sorted(raced.items())}
    return of_race | {seed(Phase.CONFIRMATION, index): dict(one.metrics) for index, one in sorted(fresh.items())}


def _own(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}


def carry_out(measures: Sequence[Asked], workload: Any, race: Race, run_dir: Path) -> list[Measured]:
    """Measure the kept instances of a finished race on test examples; all is in the journal when it returns.

    A measure that fails is noted with its error: the race is over and must not be lost by it.
    """
    later, state = [one for one in measures if not one.on_workers], race.state
    if not later or state.verdict is None:
        return []
    bench = _Bench(workload, workload.prepare(), state, run_dir)
    measured: list[Measured] = []
    for one in later:
        for configuration in _group(one.of, state):
            try:
                new = list(bench.measure(one, configuration))
            except Exception as error:
                _log.warning("%s of %s cannot be measured: %s", one.name, configuration.id, error)
                new = [Measured(one.name, configuration.id, None, {}, error=f"{type(error).__name__}: {error}")]
            race.note(*new)
            measured += new
    return measured


class _Bench:
    """Loads kept instances and measures them."""

    def __init__(self, workload: Any, data: Any, state: State, run_dir: Path) -> None:
        self.workload, self.data, self.state, self.run_dir = workload, data, state, run_dir

    def measure(self, one: Asked, configuration: Configuration) -> Iterator[Measured]:
        """Yield the numbers of each instance and, with seed None, of all of them; raises ValueError without any."""
        kept = self._chosen(configuration)
        if not kept:
            raise ValueError("no weights of its instances were kept")
        subjects = {seed: self._subject(configuration, seed, path) for seed, path in kept.items()}
        if one.measure.over == "instances":
            together = _together(one.measure, subjects)
        else:
            each = {seed: one.measure(subject) for seed, subject in subjects.items()}
            for seed, found in each.items():
                yield Measured(one.name, configuration.id, seed, found.numbers)
            together = getattr(one.measure, "summarize", _means)(list(each.values()))
        self._keep(one.name, configuration.id, together.arrays)
        yield Measured(one.name, configuration.id, None, together.numbers, together.tables, len(kept))

    def _chosen(self, configuration: Configuration) -> dict[int, Path]:
        """Return kept weights by seed: of fresh-seed instances where there are several, else of the race's."""
        kept = _weight_callback.kept(self.run_dir, configuration.id)
        by_phase: dict[Phase, dict[int, tuple[int, Path]]] = {Phase.RACE: {}, Phase.CONFIRMATION: {}}
        for seed, path in kept.items():
            phase, index = self.state.seeds.index(InstanceKey(configuration.id, seed).seed)
            by_phase[phase][index] = (seed, path)
        fresh = by_phase[Phase.CONFIRMATION]
        ordered = sorted((fresh if len(fresh) > 1 else by_phase[Phase.RACE] or fresh).items())
        return dict(pair for _, pair in ordered[:N_INSTANCES])

    def _subject(self, configuration: Configuration, seed: int, path: Path) -> Any:
        return self.workload.load_for_evaluation(configuration.parameters, path.read_bytes(), seed, self.data, "test")

    def _keep(self, measure: str, configuration_id: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        if arrays:
            path = array_path(self.run_dir, measure, configuration_id)
            path.parent.mkdir(exist_ok=True)
            with whole(path) as aside, open(aside, "wb") as file:
                np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]


def _group(of: str, state: State) -> list[Configuration]:
    """Return the configurations to measure, the leader first."""
    verdict = state.verdict
    if verdict is None or state.winner is None:
        return []
    rows = [state.winner]
    if of == "survivors":  # a rule that states a confidence drops nobody, but says who may be the best
        rows += [*verdict.indistinguishable, *(state.survivors if verdict.certified is None else ())]
    elif of == "all":
        rows += np.flatnonzero(state.pool.asked).tolist()
    return [state.pool.configurations[row] for row in dict.fromkeys(int(row) for row in rows)]


def _together(measure: Any, subjects: Mapping[int, Any]) -> Any:
    """Return what a measure finds over the predictions of all instances together."""
    from raysearch.training.measures._subjects import told

    first = next(iter(subjects.values()))
    return measure(np.stack([told(subject) for subject in subjects.values()]), np.asarray(first.targets))


def _means(founds: Sequence[Any]) -> Any:
    """Return the mean of every number over instances and, as `NAME_std`, its sample standard deviation."""
    from raysearch.training.measures import MeasureResult

    names = list(dict.fromkeys(name for found in founds for name in found.numbers))
    numbers: dict[str, float] = {}
    for name in names:
        values = np.asarray([found.numbers[name] for found in founds if name in found.numbers])
        numbers[name] = float(values.mean())
        if len(values) > 1:
            if f"{name}_std" in names:
                raise ValueError(f"a measure's number {name}_std is in the way of the spread of {name} over instances")
            numbers[f"{name}_std"] = float(values.std(ddof=1))
    return MeasureResult(numbers)
