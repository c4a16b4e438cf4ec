"""Make a tracker equal the journal: what a dead server missed is told again; twice in a row changes nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raysearch.driver import finish
from raysearch.driver.replayed import experiment_of, race_to_replay
from raysearch.driver.run import opened
from raysearch.errors import ExperimentError, TrackingError
from raysearch.experiment.experiment import Experiment
from raysearch.race.race import Race
from raysearch.race.state import State
from raysearch.race.verdict import progress
from raysearch.records import Progress
from raysearch.storage.decoding import Entry
from raysearch.storage.events import Decide, Eliminate, Event, Measured, Reopen, Tell
from raysearch.storage.journal import Journal, all_entries
from raysearch.storage.run_directory import RunDirectory
from raysearch.tracking import Tracker
from raysearch.tracking.abilities import MakesRoom, Timed, Writes
from raysearch.tracking.relay import Relay


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
        history = all_entries(directory.journal)
        experiment = experiment_of(history).with_values(values or {})
        if experiment.tracking is None:
            raise ExperimentError("this search has no tracker; name one, e.g. `--set tracking=mlflow`")
        data = experiment.model_dump(mode="json")
        # to its end before the tracker hears anything: a damaged journal must not change what it holds
        State(experiment.seed).replay(history)
        tracker, replaced = experiment.load("tracking"), out_of_date(history)
        with opened(tracker, data, directory, history[0].time_s):
            race = race_to_replay(experiment)
            tell_again(history, race, tracker, directory.path)
            if race.done:
                finish.write(race, experiment, data, directory, _workload(experiment), tracker)
    if isinstance(tracker, Writes) and tracker.n_lost:
        raise TrackingError(f"{tracker.n_lost} records could not be written to the tracker: sync again when it answers")
    return sum(isinstance(entry.event, Tell) and entry.number not in replaced for entry in history)


def tell_again(history: Sequence[Entry], race: Race, tracker: Tracker, run_dir: Path) -> None:
    """Tell a tracker what stands of a journal's events, and bring a new race to where they led."""
    replaced, relay = out_of_date(history), Relay(race, tracker, lambda: progress(race, 0.0))
    room = tracker if isinstance(tracker, MakesRoom) else None  # asked once: it takes longer than many an event
    rounds: dict[int, tuple[float, Progress]] = {}  # a wave begins in the round in which the one before it ended
    for entry in history:
        race.replay([entry])
        if entry.number not in replaced:
            relay.advanced = lambda now, time_s=entry.time_s: rounds.update({now.round: (time_s, now)})  # type: ignore[misc]
            relay.hear(_with_weights(entry.event, run_dir), entry.time_s)
            if room is not None:
                room.make_room()
    for time_s, now in rounds.values():
        _at(tracker, time_s)
        tracker.advanced(now)
    _at(tracker, history[-1].time_s)


def _at(tracker: Tracker, time_s: float) -> None:
    if isinstance(tracker, Timed):
        tracker.at(time_s)


def _with_weights(event: Event, run_dir: Path) -> Event:
    """Return a result with the weights that the run directory keeps of it, any other event as it is."""
    path = finish.weights_path(run_dir, event.key) if isinstance(event, Tell) else None
    if not isinstance(event, Tell) or path is None or not path.is_file():
        return event
    return dataclasses.replace(event, result=dataclasses.replace(event.result, weights=path.read_bytes()))


def out_of_date(history: Sequence[Entry]) -> set[int]:
    """Return the numbers of what later events replaced: failures told again, rounds before a reopening, old measures.

    A failure that was taken back and that nobody asked for again was seen, and stays.
    """
    reopened = [entry.number for entry in history if isinstance(entry.event, Reopen) and entry.event.whole_pool]
    last: dict[object, int] = {}
    replaced = {
        entry.number for entry in history[: max(reopened, default=0)] if isinstance(entry.event, Eliminate | Decide)
    }
    for number, _, event in history:
        if isinstance(event, Tell):
            of: object = event.key
        elif isinstance(event, Measured):
            of = (event.measure, event.configuration_id, event.seed)
        else:
            continue
        replaced |= {last[of]} if of in last else set()
        last[of] = number
    return replaced


def _workload(experiment: Experiment) -> Any:
    """Return the workload, for the winner's model; None where it is a Python function, which no file can name."""
    named = experiment.workload if isinstance(experiment.workload, str) else experiment.workload.get("name")
    return None if named == "function" else experiment.load("workload")
