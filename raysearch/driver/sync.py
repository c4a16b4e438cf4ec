"""Make a tracker equal the journal: what a dead server missed is told again; twice in a row changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raysearch.driver import finish
from raysearch.driver.resume import experiment_of
from raysearch.driver.run import opened
from raysearch.errors import ExperimentError, TrackingError
from raysearch.execution.conductor import announce
from raysearch.experiment.experiment import Experiment
from raysearch.race.race import Race
from raysearch.race.state import State
from raysearch.race.verdict import progress
from raysearch.records import Train
from raysearch.storage.events import Event, decode_key, decode_result, taken_back
from raysearch.storage.journal import Journal, read
from raysearch.storage.measurements import read_findings
from raysearch.storage.run_directory import RunDirectory
from raysearch.tracking import Tracker


def sync(run_dir: str | Path, values: dict[str, Any] | None = None) -> int:
    """Tell the experiment's tracker every event of the journal in `run_dir`; returns the number of instances told.

    `values` change settings by dotted keys, e.g. `tracking.uri`.

    Raises:
        ExperimentError: the search has no tracker.
        JournalError: the journal is damaged, or a driver runs in this directory, which would write the same runs.
        TrackingError: the tracker does not answer, or does not take everything.
    """
    directory = RunDirectory.open(Path(run_dir))
    with Journal(directory.journal):
        events = list(read(directory.journal))
        experiment = experiment_of(events).with_values(values or {})
        if experiment.tracking is None:
            raise ExperimentError("this search has no tracker; name one, e.g. `--set tracking=mlflow`")
        data = experiment.model_dump(mode="json")
        # to its end before the tracker hears anything: a damaged journal must not change what it holds
        State(experiment.seed).replay(events)
        read_findings(events)
        tracker, back = experiment.load("tracking"), _out_of_date(events)
        at = getattr(tracker, "at", lambda time_s: None)
        at(float(events[0]["t"]))
        with opened(tracker, data, directory):
            race = Race(
                lambda outcomes: [],
                experiment.load("criterion"),
                experiment.load("rule"),
                seed=experiment.seed,
                confirm=experiment.race.confirm,
            )
            n_told = 0
            for position, event in enumerate(events):
                at(float(event["t"]))
                race.replay([event])
                n_told += 0 if position in back else _tell(event, race, tracker, directory.path)
            if race.done:
                finish.write(race, experiment, data, directory, _workload(experiment), tracker)
    if n_lost := getattr(tracker, "n_lost", 0):
        raise TrackingError(f"{n_lost} records could not be written to the tracker: sync again when it answers")
    return n_told


def _tell(event: Event, race: Race, tracker: Tracker, run_dir: Path) -> int:
    """Tell the tracker of an event that the race has taken in; returns 1 for an instance, else 0."""
    state = race.state
    if event["event"] == "ask":
        configuration = state.configuration(event["configuration"])
        tracker.started(Train(configuration, tuple(event["seeds"])))
    elif event["event"] == "tell":
        result = decode_result(event)
        path = finish.weights_path(run_dir, result.key)
        if path.is_file():
            result = dataclasses.replace(result, weights=path.read_bytes())
        tracker.told(state.configuration(result.key.configuration_id), result, state.phase(result.key))
        return 1
    elif event["event"] == "screen":
        announce(state.eliminations[-1:], state, race.criterion, tracker)
    elif event["event"] == "eliminate":
        n_out = len(event["configurations"])
        announce(state.eliminations[-n_out:] if n_out else [], state, race.criterion, tracker)
        tracker.progress(progress(race, 0.0))
    return 0


def _out_of_date(events: Sequence[Event]) -> set[int]:
    """Return the positions of what later events replaced: failures told again, cuts before a new beginning.

    A failure that was taken back and that nobody asked for again was seen, and stays.
    """
    last = max((i for i, e in enumerate(events) if e["event"] == "reopen" and e["whole_pool"]), default=0)
    told_last = {decode_key(event): i for i, event in enumerate(events) if event["event"] == "tell"}
    replaced = {i for i in taken_back(events) if told_last[decode_key(events[i])] != i}
    return replaced | {i for i, event in enumerate(events[:last]) if event["event"] == "eliminate"}


def _workload(experiment: Experiment) -> Any:
    """Return the workload, for the winner's model; None where it is a Python function, which no file can name."""
    named = experiment.workload if isinstance(experiment.workload, str) else experiment.workload.get("name")
    return None if named == "function" else experiment.load("workload")
