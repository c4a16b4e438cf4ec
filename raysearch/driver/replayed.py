"""What a journal is of, and the race of its experiment for whoever only looks: it asks for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raysearch.errors import ExperimentError, JournalError
from raysearch.experiment.experiment import Experiment, from_data
from raysearch.race.race import Race
from raysearch.storage.decoding import Entry
from raysearch.storage.events import Resume, Start
from raysearch.storage.journal import all_entries, collector_paused
from raysearch.storage.run_directory import RunDirectory


def race_to_replay(experiment: Experiment) -> Race:
    """Return a new race that proposes nothing and writes no journal."""
    return Race(
        lambda outcomes: [],
        experiment.load("criterion"),
        experiment.load("rule"),
        seed=experiment.seed,
        confirm=experiment.race.confirm,
        finalists=experiment.race.finalists,
        n_configurations=experiment.n_configurations,
    )


def race_of(run_dir: Path) -> tuple[Race, Experiment, list[Entry]]:
    """Return the race of the search in `run_dir` as far as it went, its experiment and its events."""
    directory = RunDirectory.open(run_dir)
    history = all_entries(directory.journal)
    experiment = experiment_of(history)
    race = race_to_replay(experiment)
    with collector_paused():
        race.replay(history)
    return race, experiment, history


def experiment_of(history: Sequence[Entry]) -> Experiment:
    """Return the experiment as the last driver ran it; raises JournalError where there is none, or it is damaged."""
    if not history:
        raise JournalError("the journal is empty: the search broke off before it began. Remove the directory, run anew")
    number, event = next((n, event) for n, _, event in reversed(history) if isinstance(event, Start | Resume))
    return experiment_in(number, event)


def experiment_in(number: int, event: Start | Resume) -> Experiment:
    """Return the experiment of the event in line `number` of a journal; raises JournalError where it is damaged."""
    try:
        return from_data(event.experiment)
    except ExperimentError as error:
        name = type(event).__name__.lower()
        raise JournalError(f"line {number} of the journal, a {name!r} event, holds no experiment: {error}") from error
