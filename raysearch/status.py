"""How a search stands, read from its journal alone: for another terminal, another machine, or long afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from raysearch import ending
from raysearch.events import Event
from raysearch.experiment import Experiment
from raysearch.frame import to_frame
from raysearch.journal import read
from raysearch.objectives import label
from raysearch.race import Race
from raysearch.records import Progress, Verdict
from raysearch.resuming import experiment_of
from raysearch.run_directory import RunDirectory
from raysearch.standing import progress


@dataclass(frozen=True)
class RunStatus:
    """A moment of a search."""

    experiment: Experiment
    progress: Progress
    verdict: Verdict | None
    """None until the winner is confirmed."""
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval of the winner's confirmed criterion."""

    def print(self, console: Console) -> None:
        """Print it."""
        from raysearch.console import print_status, print_verdict

        print_status(console, self.experiment.name, self.progress, self.verdict is not None)
        if self.verdict is not None:
            print_verdict(console, self.verdict, self.interval)


def read_status(run_dir: Path) -> RunStatus:
    """Return how the search in `run_dir` stands; raises RunDirectoryError or JournalError."""
    race, experiment, events = _race_of(run_dir)
    seconds = float(events[-1]["t"]) - float(events[0]["t"])
    now = replace(progress(race, seconds), criterion=label(experiment.criterion))
    if not race.done:
        return RunStatus(experiment, now, None)
    return RunStatus(experiment, now, ending.verdict_of(race, experiment), ending.confirmed_interval(race))


def follow(console: Console, run_dir: Path, every_s: float) -> None:
    """Show how a search stands, again and again until it has ended or the user interrupts."""
    from raysearch.tracking.terminal import Terminal

    status = read_status(run_dir)
    view = Terminal()
    view.open(status.experiment.model_dump(mode="json"), run_dir)
    try:
        while status.verdict is None:
            view.progress(status.progress)
            time.sleep(every_s)
            status = read_status(run_dir)
        view.progress(status.progress)
    finally:
        view.close()
    status.print(console)


def write_report(run_dir: Path, out: Path | None) -> Path:
    """Write the report of the search in `run_dir`, finished or not, and return its path."""
    race, experiment, events = _race_of(run_dir)
    end = ending.verdict_of(race, experiment) if race.done else None
    path = out or RunDirectory.open(run_dir).report
    data = experiment.model_dump(mode="json")
    sections = ending.measured_sections(ending.findings_of(experiment, race.state, events), RunDirectory.open(run_dir))
    return ending.write_report(to_frame(events), race.state, race.criterion, end, data, path, sections)


def _race_of(run_dir: Path) -> tuple[Race, Experiment, list[Event]]:
    directory = RunDirectory.open(run_dir)
    events = list(read(directory.journal))
    experiment = experiment_of(events)
    race = Race(
        lambda outcomes: [],
        experiment.load("criterion"),
        experiment.load("rule"),
        seed=experiment.seed,
        confirm=experiment.race.confirm,
    )
    race.replay(events)
    return race, experiment, events
