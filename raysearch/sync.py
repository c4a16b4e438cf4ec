"""Make a tracker equal the journal: what a dead server missed is told again; twice in a row changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from raysearch import ending
from raysearch.criteria import Criterion
from raysearch.errors import ExperimentError
from raysearch.events import Event, decode_result
from raysearch.execution.conductor import announce
from raysearch.experiment import Experiment
from raysearch.journal import read
from raysearch.race import Race
from raysearch.records import Train
from raysearch.resume import experiment_of
from raysearch.run import opened
from raysearch.run_directory import RunDirectory
from raysearch.state import State
from raysearch.tracking import Tracker


def sync(run_dir: str | Path, values: dict[str, Any] | None = None) -> int:
    """Tell the experiment's tracker every event of the journal in `run_dir`; returns the number of instances told.

    `values` change settings by dotted keys, e.g. `tracking.uri`. Raises ExperimentError if the search has no tracker.
    """
    directory = RunDirectory.open(Path(run_dir))
    events = list(read(directory.journal))
    experiment = experiment_of(events).with_values(values or {})
    if experiment.tracking is None:
        raise ExperimentError("this search has no tracker; name one, e.g. `--set tracking=mlflow`")
    data = experiment.model_dump(mode="json")
    with opened(experiment.load("tracking"), data, directory) as tracker:
        criterion = experiment.load("criterion")
        state = State(experiment.seed)
        n_told = 0
        for event in events:
            state.replay([event])
            n_told += _tell(event, state, criterion, tracker, directory.path)
        if state.final and len(state.confirmation) >= experiment.race.confirm:
            _finish(experiment, events, directory, tracker)
    return n_told


def _tell(event: Event, state: State, criterion: Criterion, tracker: Tracker, run_dir: Path) -> int:
    """Tell the tracker one event that the state has taken in; returns 1 for an instance, else 0."""
    if event["event"] == "ask":
        configuration = state.configuration(event["configuration"])
        tracker.started(Train(configuration, tuple(event["seeds"])))
    elif event["event"] == "tell":
        result = decode_result(event)
        path = ending.weights_path(run_dir, result.key)
        if path.is_file():
            result = dataclasses.replace(result, weights=path.read_bytes())
        tracker.told(state.configuration(result.key.configuration_id), result, state.phase(result.key))
        return 1
    elif event["event"] == "eliminate":
        n_out = len(event["configurations"])
        announce(state.eliminations[-n_out:] if n_out else [], state, criterion, tracker)
    return 0


def _finish(experiment: Experiment, events: list[Event], directory: RunDirectory, tracker: Tracker) -> None:
    """Write the end of a finished search again."""
    race = Race(lambda outcomes: [], experiment.load("criterion"), experiment.load("rule"), seed=experiment.seed)
    race.replay(events)
    named = experiment.workload if isinstance(experiment.workload, str) else experiment.workload.get("name")
    workload = None if named == "function" else experiment.load("workload")
    ending.write(race, experiment, experiment.model_dump(mode="json"), directory, workload, tracker)
