"""Plan, run and load searches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import raysearch
from raysearch.criteria import Criterion
from raysearch.criteria.objectives import parse
from raysearch.driver import finish, measure
from raysearch.driver.alone import alone
from raysearch.driver.learn import learn
from raysearch.errors import ExperimentError, RaysearchError
from raysearch.execution import Executor, HasGauges
from raysearch.execution.race_runner import RaceRunner
from raysearch.experiment import yaml_text
from raysearch.experiment.experiment import Experiment
from raysearch.experiment.measures import Asked, asked, instrumented
from raysearch.race.learnt import planned, taught
from raysearch.race.race import Race
from raysearch.records import Configuration, Outcome, Plan, Verdict
from raysearch.rules import Budgeted, Rule
from raysearch.samplers import Propose
from raysearch.samplers.included import with_included
from raysearch.samplers.taught import bound
from raysearch.storage.decoding import entries
from raysearch.storage.events import Learn, Start
from raysearch.storage.instances import JOURNAL, read_parquet, to_frame
from raysearch.storage.journal import VERSION, Journal, extent, read
from raysearch.storage.run_directory import RunDirectory
from raysearch.tracking import Tracker
from raysearch.tracking.abilities import Beside, Browsable, Timed
from raysearch.tracking.several import Trackers
from raysearch.workloads import HasEpochs, Workload

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SearchResult:
    """A finished search: `verdict.winner.parameters` is what to use."""

    verdict: Verdict
    run_dir: Path
    tracked_at: str = ""
    """How to browse the instances; empty without a tracker that shows them."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the winner's confirmed criterion; None without confirmation."""
        return self.verdict.interval

    @property
    def instances(self) -> pd.DataFrame:
        """One row per instance; see raysearch.storage.instances."""
        return load(self.run_dir)

    def plot(self, name: str = "losses") -> Any:
        """Return a figure of the report as a `matplotlib.figure.Figure`; an unknown name is answered with all names."""
        from raysearch.driver.notebook import plot

        return plot(self.run_dir, name)

    def _repr_html_(self) -> str:
        """Show winner, interval and box plots in a notebook."""
        from raysearch.driver.notebook import page

        return page(self)


@dataclass(frozen=True)
class Parts:
    """The plug-ins of one experiment, each made once, and all checked."""

    experiment: Experiment
    workload: Workload
    instrumented: Workload
    """The workload, measuring what criterion, objectives and measures need of every instance."""
    criterion: Criterion
    rule: Rule
    executor: Executor
    tracker: Tracker
    measures: Sequence[Asked]
    learnt: tuple[Learn, ...]
    """What earlier searches teach this one."""
    first_wave: Sequence[Configuration]
    later_waves: Propose

    def propose(self, outcomes: Sequence[Outcome]) -> Sequence[Configuration]:
        """Return the next wave of configurations."""
        return self.later_waves(outcomes) if outcomes else self.first_wave

    @property
    def n_configurations(self) -> int:
        """Number of configurations in all waves."""
        return max(self.experiment.n_configurations or 0, len(self.first_wave))

    def with_rule(self, section: dict[str, Any]) -> Parts:
        """Return the same parts with another rule; raises ExperimentError where it cannot decide on them."""
        experiment = self.experiment.with_values({"rule": section})
        rule = experiment.load("rule")
        _rule_plan(rule, len(self.first_wave))
        return replace(self, experiment=experiment, rule=rule)


def build(
    experiment: Experiment, workload: Any = None, space: Any = None, learnt: tuple[Learn, ...] | None = None
) -> Parts:
    """Return the parts of an experiment; raises ExperimentError for whatever cannot work, before anything trains.

    `workload` and `space` (a function) stand in for sections that no file can name. `learnt` is what earlier searches
    teach; None reads it from their directories.
    """
    workload = experiment.load("workload") if workload is None else workload
    criterion, rule = experiment.load("criterion"), experiment.load("rule")
    executor, tracker, measures = experiment.load("execution"), experiment.load("tracking"), asked(experiment.measures)
    of, objectives = parse(experiment.criterion), finish.objectives_of(experiment)
    trained = instrumented(workload, measures, of, objectives)
    own = experiment.build_space(workload, space)
    sampler = experiment.load("sampler")
    if learnt is None:
        learnt = learn(experiment, workload, own, sampler, rule)
    propose = bound(sampler, own, experiment.seed, criterion, learnt)
    propose = with_included(propose, own, experiment.include, experiment.n_configurations)
    first = tuple(propose([]))
    if not first:
        bounds = ", ".join(f"{name} <= {bound:g}" for name, bound in experiment.constraints.items())
        raise ExperimentError(
            f"the space has no valid configuration{f' with {bounds}' if bounds else ''}: widen it or relax the bounds"
        )
    for configuration in first:
        workload.check(configuration.parameters)
    _rule_plan(rule, len(first))
    return Parts(experiment, workload, trained, criterion, rule, executor, tracker, measures, learnt, first, propose)


def _rule_plan(rule: Rule, n_configurations: int) -> tuple[int, int]:
    """Return the rule's plan; raises ExperimentError where its budget cannot train the configurations once."""
    try:
        return rule.plan(n_configurations)
    except ValueError as error:
        raise ExperimentError(f"rule: {error}") from error


def plan(experiment: Experiment, *, workload: Any = None, space: Any = None) -> Plan:
    """Return what a search will cost, without training anything.

    `workload` and `space` (a function) stand in for sections that no file can name.
    """
    parts = build(experiment, workload, space)
    race, n = experiment.race, parts.n_configurations
    alone = _bounds(parts, parts.rule)
    least, most = _bounds(parts, taught(parts.rule, parts.first_wave, experiment.seed, parts.learnt))
    epochs = parts.workload.epochs if isinstance(parts.workload, HasEpochs) else None
    finalists = min(race.finalists, n)
    confirmed = race.confirm * finalists  # fewer where one is told from the best before its last instance
    learnt = [*map(planned, parts.learnt)]
    if least < alone[0]:
        before, now = (one + race.confirm for one in (alone[0], least))
        learnt.append(
            f"enough to need {now} instances at least, not {before}: fewer configurations are tried at random"
        )
    bounds = least + race.confirm, most + confirmed
    return Plan(n, bounds, n * race.exhaustive, epochs, len(parts.first_wave), finalists, tuple(learnt))


def _bounds(parts: Parts, rule: Rule) -> tuple[int, int]:
    """Return the least and the greatest number of instances of all waves, confirmation left out."""
    n, wave = parts.n_configurations, len(parts.first_wave)
    first, later = _rule_plan(rule, wave), [min(wave, n - start) for start in range(wave, n, wave)]
    # later waves race with the leader so far, whose instances are there already: they may use up a budget
    limited = isinstance(parts.rule, Budgeted) and parts.rule.budget is not None
    least = first[0] + sum(size if limited else _rule_plan(rule, size)[0] for size in later)
    return least, first[1] + sum(_rule_plan(rule, size if limited else size + 1)[1] for size in later)


def run(
    experiment: Experiment,
    run_dir: Path | None = None,
    *,
    workload: Any = None,
    space: Any = None,
    watchers: Sequence[Tracker] = (),
) -> SearchResult:
    """Carry a search out and return its result; nothing is lost where it breaks off, see `raysearch resume`.

    `watchers` are trackers beside the experiment's own, such as the live view.
    """
    return start(build(experiment, workload, space), run_dir, watchers)


@alone()
def start(parts: Parts, run_dir: Path | None = None, watchers: Sequence[Tracker] = ()) -> SearchResult:
    """Carry out a search of these parts, from its beginning, and return its result."""
    experiment = parts.experiment
    parts.executor.check(parts.instrumented)
    directory = RunDirectory.create(run_dir, experiment.name)
    with Journal(directory.journal) as journal:
        data = _plain(experiment)
        directory.write_text(directory.experiment, yaml_text.dump(data))
        began = time.time()
        with opened(trackers(parts, watchers), data, directory, began) as tracker:
            journal.append(Start(data, VERSION, raysearch.__version__), began)
            runner = runner_of(parts, make_race(parts, journal), tracker)
            runner.race.note(*parts.learnt)
            return carry_out(parts, runner, directory)


def trackers(parts: Parts, watchers: Sequence[Tracker]) -> Trackers:
    """Return the experiment's tracker, those who watch, and what the executor exports to its own monitoring."""
    for watcher in watchers:
        if isinstance(watcher, Beside):
            watcher.beside(parts.tracker)
    gauges = [parts.executor.gauges(parts.tracker)] if isinstance(parts.executor, HasGauges) else []
    return Trackers([parts.tracker, *watchers, *measure.keepers(parts.measures), *gauges])


def make_race(parts: Parts, journal: Journal | None) -> Race:
    """Return a new race of these parts."""
    race = parts.experiment.race
    return Race(
        parts.propose,
        parts.criterion,
        parts.rule,
        seed=parts.experiment.seed,
        confirm=race.confirm,
        finalists=race.finalists,
        block=race.block,
        retries=race.retries,
        ahead=race.ahead,
        screening=race.screen,
        journal=journal,
        n_configurations=parts.experiment.n_configurations,
    )


def runner_of(parts: Parts, race: Race, tracker: Tracker) -> RaceRunner:
    """Return what passes a race's events on: to be made before the race goes on."""
    return RaceRunner(race, tracker, raise_on_failure=parts.experiment.race.on_failure == "raise")


def carry_out(parts: Parts, runner: RaceRunner, directory: RunDirectory) -> SearchResult:
    """Execute a race to its end, write what it leaves behind and return the result."""
    race, tracker = runner.race, runner.tracker
    parts.executor.run(runner, parts.instrumented)
    with finish.beside("not all measures were taken", f"`raysearch resume {directory.path}` takes them."):
        measure.carry_out(parts.measures, parts.workload, race, directory.path)
    verdict = finish.write(race, parts.experiment, _plain(parts.experiment), directory, parts.workload, tracker)
    tracked_at = parts.tracker.address if isinstance(parts.tracker, Browsable) else ""
    return SearchResult(verdict, directory.path, tracked_at)


def load(run_dir: str | Path) -> pd.DataFrame:
    """Return the instances of a search as a table, finished or not; see raysearch.storage.instances for its columns."""
    directory = RunDirectory.open(Path(run_dir))
    with contextlib.suppress(OSError, ValueError):  # there is none, or it is damaged: the journal is the truth
        table = read_parquet(directory.instances)
        if table.attrs.get(JOURNAL) == [*extent(directory.journal)]:  # times of files tell nothing: files are copied
            return table
    return to_frame(entries(read(directory.journal)))


@contextlib.contextmanager
def opened(tracker: Tracker, data: dict[str, Any], directory: RunDirectory, began_s: float) -> Iterator[Tracker]:
    """Open a tracker for as long as the search runs, which began at `began_s`, in seconds since 1970."""
    if isinstance(tracker, Timed):
        tracker.at(began_s)
    tracker.open(data, directory.path)
    try:
        yield tracker
    finally:
        tracker.close()


def _plain(experiment: Experiment) -> dict[str, Any]:
    return experiment.model_dump(mode="json")


__all__ = ["Plan", "RaysearchError", "SearchResult", "load", "plan", "run"]
