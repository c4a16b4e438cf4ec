"""Make a tracker equal the journal: what a dead server missed is told again; twice in a row changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from raysearch import ending
from raysearch.driver import opened
from raysearch.errors import ExperimentError
from raysearch.events import Event, decode_result
from raysearch.execution.conductor import announce
from raysearch.experiment import Experiment
from raysearch.journal import Journal, read
from raysearch.race import Race
from raysearch.records import Train
from raysearch.resuming import experiment_of
from raysearch.run_directory import RunDirectory
from raysearch.standing import progress
from raysearch.tracking import Tracker


def sync(run_dir: str | Path, values: dict[str, Any] | None = None) -> int:
    """Tell the experiment's tracker every event of the journal in `run_dir`; returns the number of instances told.

    `values` change settings by dotted keys, e.g. `tracking.uri`.

    Raises:
        ExperimentError: the search has no tracker.
        JournalError: the journal is damaged, or a driver runs in this directory, which would write the same runs.
        TrackingError: the tracker does not answer.
    """
    directory = RunDirectory.open(Path(run_dir))
    with Journal(directory.journal):
        events = list(read(directory.journal))
        experiment = experiment_of(events).with_values(values or {})
        if experiment.tracking is None:
            raise ExperimentError("this search has no tracker; name one, e.g. `--set tracking=mlflow`")
        data = experiment.model_dump(mode="json")
        with opened(experiment.load("tracking"), data, directory) as tracker:
            race = Race(
                lambda outcomes: [],
                experiment.load("criterion"),
                experiment.load("rule"),
                seed=experiment.seed,
                confirm=experiment.race.confirm,
            )
            n_told = sum(_tell(event, race, tracker, directory.path) for event in events)
            if race.done:
                ending.write(race, experiment, data, directory, _workload(experiment), tracker)
    return n_told


def _tell(event: Event, race: Race, tracker: Tracker, run_dir: Path) -> int:
    """Let the race take in one event and tell the tracker of it; returns 1 for an instance, else 0."""
    race.replay([event])
    state = race.state
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
        announce(state.eliminations[-n_out:] if n_out else [], state, race.criterion, tracker)
        tracker.progress(progress(race, 0.0))
    return 0


def _workload(experiment: Experiment) -> Any:
    """Return the workload, for the winner's model; None where it is a Python function, which no file can name."""
    named = experiment.workload if isinstance(experiment.workload, str) else experiment.workload.get("name")
    return None if named == "function" else experiment.load("workload")
