"""What a finished race leaves behind: instances, report, the winner's model, and word to the trackers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raysearch.criteria import Criterion
from raysearch.criteria.objectives import Objective, label, parse, parse_all
from raysearch.criteria.summary import with_interval
from raysearch.driver.measure import measured_on_workers
from raysearch.experiment import yaml_text
from raysearch.experiment.experiment import Experiment
from raysearch.experiment.measures import asked
from raysearch.race.race import Race
from raysearch.race.state import State
from raysearch.race.verdict import verdict
from raysearch.records import Finalist, InstanceKey, InstanceResult, Model, Status, Verdict
from raysearch.storage.decoding import Entry
from raysearch.storage.events import Measured
from raysearch.storage.instances import to_frame, write_parquet
from raysearch.storage.journal import all_entries
from raysearch.storage.measurements import figure_path, read_measured, to_table
from raysearch.storage.run_directory import RunDirectory
from raysearch.tracking import Tracker
from raysearch.tracking.relay import tell_scores

_log = logging.getLogger(__name__)


def write(
    race: Race, experiment: Experiment, data: dict[str, Any], directory: RunDirectory, workload: Any, tracker: Tracker
) -> Verdict:
    """Write instances.parquet and report.html, hand them and the winner's model to the tracker, return the verdict.

    The journal has all that was found by now: what cannot be written is left out with a warning.
    """
    verdict = verdict_of(race, experiment)
    history = all_entries(directory.journal)
    on_workers = measured_on_workers(_on_workers(experiment), race.state)
    frame, measured = to_frame(history), [*on_workers, *read_measured(history)]
    artifacts: dict[str, Path] = {}
    with beside("the table of instances is not written", "`raysearch.load` reads them from the journal."):
        write_parquet(frame, directory.instances)
        artifacts["instances"] = directory.instances
    with beside("the report is not written", f"`raysearch report {directory.path}` writes it."):
        sections = measured_sections(measured, directory)
        write_report(frame, race.state, race.criterion, verdict, data, directory.report, sections)
        artifacts["report"] = directory.report
    # what a worker measured of an instance is among its metrics; what was measured at the end, it heard as events
    for one in on_workers:
        if one.seed is None:
            numbers = {f"{one.measure}.{name}": value for name, value in one.numbers.items()}
            tracker.measured(race.state.configuration(one.configuration_id), None, numbers)
    with beside("the table of measures is not written", "The journal has them."):
        artifacts |= _write_measures(measured, directory) if measured else {}
    model = None
    with beside("the winner's model is left out", f"Its weights are in {directory.path / 'weights'}."):
        model = median_model(race.state, data["workload"], workload, directory.path)
    score(race, tracker)
    tracker.finished(verdict, artifacts, model)
    return verdict


@contextlib.contextmanager
def beside(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever is raised into a warning that says `what` is missing and why: the result of a search is there."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # losses at the ends of floating point
            yield
    except Exception as error:
        _log.warning(
            "%s: %s: %s. %s", what, type(error).__name__, error, remedy, exc_info=_log.isEnabledFor(logging.DEBUG)
        )


def verdict_of(race: Race, experiment: Experiment) -> Verdict:
    """Return how a race of this experiment ended, with the Pareto set where its sampler weighs several objectives."""
    of, name = parse(experiment.criterion).metric or "", label(experiment.criterion)
    found = verdict(race, name, experiment.race.exhaustive, objectives_of(experiment), of)
    if found.confirmation is not None:
        fresh = [result.loss for _, result in sorted(race.state.confirmation.items())]
        found = replace(found, confirmation=with_interval(found.confirmation, fresh, race.criterion))
    return replace(found, finalists=finalists_of(race)) if found.finalists else found


def finalists_of(race: Race) -> tuple[Finalist, ...]:
    """Return who is confirmed on the same fresh seeds, with the intervals of what they show."""
    from raysearch.analysis.finalists import finalists

    return finalists(race)


def score(race: Race, tracker: Tracker) -> None:
    """Tell the statistics of all that are left, over all their race instances: a rule may end without a cut.

    What was cut is told anew where an earlier rule may have had the last word on it.
    """
    state, round_ = race.state, _round_after_all(race.state)
    n_judged: dict[int, int] = {}
    if len(state.cuts) > len(state.rounds):  # reopened, and decided anew
        n_judged = {state.pool.rows[id_]: cut.n_instances for cut in state.eliminations for id_ in cut.configurations}
    n_judged |= {row: len(state.pool.judged_losses(row)) for row in state.survivors.tolist()}
    tell_scores(race, tracker, n_judged, round_)


def _round_after_all(state: State) -> int:
    """Return the round after the last that ever was, also where an earlier rule had cut more often."""
    deepest: dict[int, int] = {}
    for wave, round_ in state.cuts:
        deepest[wave] = max(round_, deepest.get(wave, 0))
    return 1 + sum(deepest.values())


def objectives_of(experiment: Experiment) -> tuple[Objective, ...]:
    """Return what the experiment's sampler weighs against each other; nothing where it follows the criterion alone."""
    return parse_all(getattr(experiment.load("sampler"), "objectives", ()))


def measured_of(experiment: Experiment, state: State, history: Sequence[Entry]) -> list[Measured]:
    """Return what was measured: on the workers, as the instances' metrics tell, and at the end."""
    return [*measured_on_workers(_on_workers(experiment), state), *read_measured(history)]


def _on_workers(experiment: Experiment) -> list[str]:
    """Return the measures that every instance is measured with where it was trained."""
    judged = (parse(experiment.criterion), *objectives_of(experiment))
    names = [one.name for one in asked(experiment.measures) if one.on_workers]
    return list(dict.fromkeys([*names, *(name for objective in judged for name in objective.measures)]))


def measured_sections(measured: list[Measured], directory: RunDirectory) -> list[tuple[str, Any]]:
    """Return the report's sections on measures."""
    if not measured:
        return []
    from raysearch.analysis.figures_measures import sections

    return sections(measured, directory.path)


def _write_measures(measured: list[Measured], directory: RunDirectory) -> dict[str, Path]:
    """Write measures.parquet and one figure per measure; return the files by name."""
    from raysearch.analysis.figures_measures import pictures

    table = directory.path / "measures.parquet"
    write_parquet(to_table(measured), table)
    written = {"measures": table}
    for measure, content in pictures(measured, directory.path).items():
        path = figure_path(directory.path, measure)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        written[f"measure_{measure}"] = path
    return written


def write_report(
    frame: Any,
    state: State,
    criterion: Criterion,
    verdict: Verdict | None,
    data: dict[str, Any],
    path: Path,
    measures: Sequence[tuple[str, Any]] = (),
) -> Path:
    """Write the report of a race, finished or not; `measures` are further sections."""
    from raysearch.analysis.report import write_report as write_html

    return write_html(
        path,
        instances=frame,
        eliminations=state.eliminations,
        rounds=rounds(state, criterion),
        verdict=verdict,
        experiment=data,
        criterion=criterion,
        experiment_text=yaml_text.dump(data),
        pareto=pareto_table(state, verdict),
        loss_label=parse(data["criterion"]).metric or "validation loss",
        measures=[*_dropped(state), *_screened_out(frame, state), *measures],
    )


def _dropped(state: State) -> list[tuple[str, Any]]:
    """Return the report's section on configurations that people took out, if there are any."""
    import pandas as pd

    rows = [
        {
            "configuration": cut.configurations[0],
            "round": cut.round,
            "instances": cut.n_instances,
            "criterion then": cut.values[0],
            "why": cut.reason,
        }
        for cut in state.eliminations
        if cut.reason
    ]
    return [("Dropped by people", pd.DataFrame(rows))] if rows else []


def _screened_out(frame: Any, state: State) -> list[tuple[str, Any]]:
    """Return the report's section on configurations whose first instance ended early, if there are any."""
    cutoffs = {cut.configurations[0]: cut for cut in state.eliminations if not cut.round and not cut.reason}
    rows = frame[frame["configuration_id"].isin(cutoffs) & (frame["epochs"] > 0) & (frame["status"] == Status.STOPPED)]
    if rows.empty:
        return []
    table = rows[["configuration_id", "epochs"]].rename(columns={"configuration_id": "configuration"})
    table["loss there"] = [cutoffs[id_].values[0] for id_ in rows["configuration_id"]]
    table["cutoff"] = [cutoffs[id_].cutoff for id_ in rows["configuration_id"]]
    table["parameters"] = rows["parameters"]
    said = f"{len(table)} configurations were out after some epochs of their first instance: in no table above."
    return [("Screened out", said), ("Screened out", table.reset_index(drop=True))]


def pareto_table(state: State, verdict: Verdict | None) -> list[Any]:
    """Return the report's table of the configurations that no other one beats in all objectives."""
    if verdict is None or not verdict.pareto:
        return []
    import pandas as pd

    rows = [
        {
            "configuration": point.configuration_id,
            "instances": point.n_instances,
            **dict(zip(verdict.objectives, point.values, strict=True)),
            **dict(state.configuration(point.configuration_id).parameters),
        }
        for point in verdict.pareto
    ]
    return [f"No configuration beats these in all of {', '.join(verdict.objectives)}.", pd.DataFrame(rows)]


def rounds(state: State, criterion: Criterion) -> list[tuple[int, str, float]]:
    """Return (round, configuration id, criterion) of every configuration at the end of every round it was in."""
    scored: list[tuple[int, str, float]] = []
    for round_, n_instances, rows in state.rounds:
        if not n_instances:  # a cut of who was never trained
            continue
        values = np.asarray(criterion(state.pool.losses[list(rows), :n_instances]))
        ids = [state.pool.configurations[row].id for row in rows]
        scored += [(round_, id_, float(value)) for id_, value in zip(ids, values, strict=True)]
    return scored


def median_model(state: State, section: Any, workload: Any, run_dir: Path) -> Model | None:
    """Return the confirmation instance of median loss: what a user can expect, not the luckiest.

    None where the workload cannot predict, or no confirmation instance kept its weights. The lower of two medians.
    """
    if state.winner is None or not hasattr(workload, "predict"):
        return None
    winner = state.pool.configurations[state.winner]
    done = sorted((r for r in state.confirmation.values() if r.status is Status.COMPLETE), key=_by_loss)
    if not done:
        return None
    key = done[(len(done) - 1) // 2].key
    weights = weights_path(run_dir, key)
    if not weights.is_file():
        return None
    content = weights.read_bytes()
    example = workload.example(workload.prepare())
    named = {"name": section} if isinstance(section, str) else section
    prediction = workload.predict(winner.parameters, content, example)
    return Model(key, named, dict(winner.parameters), content, example, prediction)


def weights_path(run_dir: Path, key: InstanceKey) -> Path:
    """Return where the weights of an instance are kept while the search runs, and the winner's after it."""
    return run_dir / "weights" / key.configuration_id / f"{key.seed}.safetensors"


def _by_loss(result: InstanceResult) -> tuple[float, int]:
    return result.loss, result.key.seed
