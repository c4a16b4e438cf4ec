"""Plan, run and load searches: the only file that knows every part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import raysearch
from raysearch import ending, measuring
from raysearch.errors import ExperimentError, RaysearchError
from raysearch.execution.conductor import Conductor
from raysearch.experiment import Experiment, from_data, section_of
from raysearch.frame import read_parquet, to_frame
from raysearch.journal import VERSION, Journal, read
from raysearch.race import Propose, Race
from raysearch.records import Verdict
from raysearch.run_directory import RunDirectory
from raysearch.tracking import Tracker
from raysearch.tracking.several import Trackers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Plan:
    """What a search will cost, known without training anything."""

    n_configurations: int
    n_instances: tuple[int, int]
    """Least and greatest number, confirmation included."""
    n_exhaustive: int
    n_epochs: int | None
    """Epochs per instance, where the workload says so."""


@dataclass(frozen=True)
class SearchResult:
    """A finished search: `verdict.winner.parameters` is what to use."""

    verdict: Verdict
    run_dir: Path
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval of the winner's confirmed criterion; None without confirmation."""

    @property
    def instances(self) -> pd.DataFrame:
        """One row per instance; see raysearch.frame."""
        return load(self.run_dir)


@dataclass(frozen=True)
class Parts:
    """The plug-ins of one experiment, all checked."""

    experiment: Experiment
    workload: Any
    propose: Propose
    criterion: Any
    rule: Any
    executor: Any
    tracker: Any
    measures: Sequence[measuring.Asked] = ()


def build(experiment: Experiment, workload: Any = None) -> Parts:
    """Return the parts of an experiment; raises ExperimentError for whatever cannot work, before anything trains.

    `workload` stands in for the section where it is an object that no file can name.
    """
    workload = experiment.load("workload") if workload is None else workload
    criterion = experiment.load("criterion")
    propose = experiment.load("sampler").bind(experiment.build_space(workload), experiment.seed, criterion)
    first = propose([])
    if not first:
        bounds = ", ".join(f"{name} <= {bound:g}" for name, bound in experiment.constraints.items())
        raise ExperimentError(
            f"the space has no valid configuration{f' with {bounds}' if bounds else ''}: widen it or relax the bounds"
        )
    measures = measuring.asked(experiment.measures)
    measuring.instrumented(workload, measures, experiment.criterion)
    for configuration in first:
        workload.check(configuration.parameters)
    return Parts(
        experiment,
        workload,
        propose,
        criterion,
        experiment.load("rule"),
        experiment.load("execution"),
        experiment.load("tracking"),
        measures,
    )


def plan(experiment: Experiment) -> Plan:
    """Return what a search will cost, without training anything."""
    parts = build(experiment)
    n, race = len(parts.propose([])), experiment.race
    least, most = parts.rule.plan(n)
    epochs = getattr(parts.workload, "epochs", None)
    return Plan(n, (least + race.confirm, most + race.confirm), n * race.exhaustive, epochs)


def run(
    experiment: Experiment,
    run_dir: Path | None = None,
    *,
    workload: Any = None,
    watchers: Sequence[Tracker] = (),
) -> SearchResult:
    """Carry a search out and return its result; nothing is lost where it breaks off, see `raysearch resume`.

    `watchers` are trackers beside the experiment's own, such as the live view.
    """
    parts = build(experiment, workload)
    parts.executor.check()
    directory = RunDirectory.create(run_dir, experiment.name)
    with Journal(directory.journal) as journal:
        data = _plain(experiment)
        directory.write_text(directory.experiment, yaml.safe_dump(data, sort_keys=False))
        with opened(trackers(parts, watchers), data, directory) as tracker:
            journal.append(
                {"event": "start", "version": VERSION, "raysearch": raysearch.__version__, "experiment": data}
            )
            race = make_race(parts, journal)
            return carry_out(parts, race, tracker, directory)


def trackers(parts: Parts, watchers: Sequence[Tracker]) -> Trackers:
    """Return the experiment's tracker, those who watch, and what the executor exports to its own monitoring."""
    gauges = getattr(parts.executor, "gauges", None)
    also = [*watchers, *measuring.keepers(parts.measures)]
    return Trackers([parts.tracker, *also, *([] if gauges is None else [gauges(parts.tracker)])])


def make_race(parts: Parts, journal: Journal | None) -> Race:
    """Return a new race of these parts."""
    race = parts.experiment.race
    return Race(
        parts.propose,
        parts.criterion,
        parts.rule,
        seed=parts.experiment.seed,
        confirm=race.confirm,
        block=race.block,
        retries=race.retries,
        ahead=race.ahead,
        journal=journal,
    )


def carry_out(parts: Parts, race: Race, tracker: Tracker, directory: RunDirectory) -> SearchResult:
    """Execute a race to its end, write what it leaves behind and return the result."""
    conductor = Conductor(race, tracker, raise_on_failure=parts.experiment.race.on_failure == "raise")
    instrumented = measuring.instrumented(parts.workload, parts.measures, parts.experiment.criterion)
    parts.executor.run(conductor, instrumented)
    measuring.carry_out(parts.measures, parts.workload, race.state, race.journal, directory.path)
    verdict = ending.write(race, parts.experiment, _plain(parts.experiment), directory, parts.workload, tracker)
    return SearchResult(verdict, directory.path, ending.confirmed_interval(race))


def load(run_dir: str | Path) -> pd.DataFrame:
    """Return the instances of a search as a table, finished or not; see raysearch.frame for its columns."""
    directory = RunDirectory.open(Path(run_dir))
    if directory.instances.exists():
        return read_parquet(directory.instances)
    return to_frame(read(directory.journal))


def search(
    train: Any,
    *,
    space: Mapping[str, Any],
    criterion: Any = "median",
    rule: Any = "halving",
    sampler: Any = "grid",
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
        space: parameters as in an experiment file: `{"lr": [0.1, 0.01], "depth": {"low": 1, "high": 8}}`.
        criterion: name, section or plug-in object; likewise `rule`, `sampler`, `execution` and `tracking`.
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

    named = isinstance(train, str | dict)
    workload = None if named else train if hasattr(train, "prepare") else Function(train)
    default_name = train if isinstance(train, str) else getattr(train, "__name__", "search").strip("<>")
    sections = {"criterion": criterion, "rule": rule, "sampler": sampler, "execution": execution, "tracking": tracking}
    data = {
        key: value if isinstance(value, str | dict | None) else section_of(value) for key, value in sections.items()
    }
    experiment = from_data(
        {
            **data,
            "name": name or default_name,
            "seed": seed,
            "workload": train if named else {"name": "function", "fn": default_name},
            "space": dict(space),
            "race": {"confirm": confirm, **race},
        }
    )
    watchers = [Terminal()] if progress else []
    return run(experiment, None if run_dir is None else Path(run_dir), workload=workload, watchers=watchers)


@contextlib.contextmanager
def opened(tracker: Tracker, data: dict[str, Any], directory: RunDirectory) -> Iterator[Tracker]:
    """Open a tracker for as long as the search runs."""
    tracker.open(data, directory.path)
    try:
        yield tracker
    finally:
        tracker.close()


def _plain(experiment: Experiment) -> dict[str, Any]:
    return experiment.model_dump(mode="json")


__all__ = ["Plan", "RaysearchError", "SearchResult", "load", "plan", "run", "search"]
