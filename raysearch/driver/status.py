"""How a search stands, read from its journal alone: for another terminal, another machine, or long afterwards."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from raysearch.criteria.objectives import label
from raysearch.driver import finish
from raysearch.driver.replayed import race_of
from raysearch.errors import RunDirectoryError
from raysearch.experiment.experiment import Experiment
from raysearch.race.learnt import sentences as learnt
from raysearch.race.verdict import progress
from raysearch.records import Finalist, Progress, Status, Verdict
from raysearch.storage.clock import CLOCK, Clock
from raysearch.storage.decoding import Entry, taken_back
from raysearch.storage.events import Resume, Tell
from raysearch.storage.instances import to_frame
from raysearch.storage.journal import all_entries, is_driven
from raysearch.storage.run_directory import RunDirectory


@dataclass(frozen=True)
class RunStatus:
    """A moment of a search."""

    run_dir: Path
    experiment: Experiment
    progress: Progress
    verdict: Verdict | None
    """None until the winner is confirmed."""
    driven: bool | None = None
    """Whether a driver runs; None where the file system does not say."""
    paused: bool = False
    """Whether a person lets no further instance begin."""
    finalists: tuple[Finalist, ...] = ()
    """What those show that are being confirmed."""
    learnt: tuple[str, ...] = ()
    """What earlier searches have taught this one, and what of it counts, in words."""
    errors: tuple[str, ...] = ()
    """The last error of every instance that failed for good."""

    @property
    def abandoned(self) -> bool:
        """Whether the search has not ended and nobody carries it on."""
        return self.verdict is None and self.driven is False

    def print(self, console: Console) -> None:
        """Print it."""
        from raysearch.analysis.console import (
            print_contradiction,
            print_failures,
            print_finalists,
            print_status,
            print_verdict,
            say,
        )

        print_status(console, self.experiment.name, self.progress, self.verdict is not None)
        for one in self.learnt if self.verdict is None else ():  # the verdict says it, too
            say(console, one, soft_wrap=True)
        if self.errors:
            print_failures(console, self.errors, self.run_dir)
        if self.abandoned:
            say(console, f"no driver runs: `raysearch resume {self.run_dir}` goes on", soft_wrap=True)
        elif self.paused and self.verdict is None:
            say(console, f"paused: `raysearch resume {self.run_dir}` goes on", soft_wrap=True)
        if self.verdict is not None:
            print_verdict(console, self.verdict, self.verdict.interval)
            print_contradiction(console, self.verdict, self.verdict.interval, self.run_dir)
        else:
            print_finalists(console, self.finalists, self.progress.criterion)


def read_status(run_dir: Path, clock: Clock = CLOCK) -> RunStatus:
    """Return how the search in `run_dir` stands; raises RunDirectoryError or JournalError."""
    driven = is_driven(RunDirectory.open(run_dir).journal)  # first: what is read after a driver's end is all there is
    race, experiment, history = race_of(run_dir)
    now = replace(progress(race, _seconds(history, driven, clock)), criterion=label(experiment.criterion))
    paused, told = race.state.paused, tuple(learnt(race.state))
    status = RunStatus(
        run_dir, experiment, now, None, driven=driven, paused=paused, learnt=told, errors=errors_of(history)
    )
    if race.state.confirmations.finalists:
        status = replace(status, finalists=finish.finalists_of(race))
    if not race.done:
        return status
    return replace(status, verdict=finish.verdict_of(race, experiment))


def follow(console: Console, run_dir: Path, every_s: float, clock: Clock = CLOCK) -> None:
    """Show how a search stands, until it has ended, nobody carries it on any more, or the user interrupts."""
    from raysearch.tracking.terminal import Terminal

    with _warnings_once():
        status = read_status(run_dir, clock)
        view = Terminal()
        view.open(status.experiment.model_dump(mode="json"), run_dir)
        try:
            while status.verdict is None and not status.abandoned:
                view.progress(status.progress)
                clock.sleep(every_s)
                status = read_status(run_dir, clock)
            view.progress(status.progress)
        finally:
            view.close()
    status.print(console)


def errors_of(history: Sequence[Entry]) -> tuple[str, ...]:
    """Return the last error of every instance that failed for good, those taken back not counted."""
    back = taken_back(history)
    return tuple(
        event.result.error.strip() or "no error text"
        for number, _, event in history
        if isinstance(event, Tell) and event.result.status is Status.FAILED and number not in back
    )


def read_errors(run_dir: Path) -> tuple[str, ...]:
    """Return the last error of every instance of a search that failed for good."""
    return errors_of(all_entries(RunDirectory.open(run_dir).journal))


def said_of_failures(run_dir: Path) -> str:
    """Return in words how many instances of a search failed for good, and what to do; nothing where none did."""
    n = len(read_errors(run_dir))
    if not n:
        return ""
    how = f"`raysearch resume {run_dir} --retry-failed` trains them again"
    return f"{_instances(n)} failed for good and count as +inf: `raysearch status {run_dir}` shows their errors, {how}."


def said_of_taking_back(run_dir: Path) -> str:
    """Return in words what `--retry-failed` takes back."""
    n = len(read_errors(run_dir))
    if not n:
        return "No instance had failed for good: none is taken back."
    return f"{_instances(n)} that failed for good: taken back, to be trained again where the rule asks for them."


def _instances(n: int) -> str:
    return f"{n} instance{'' if n == 1 else 's'}"


def write_report(run_dir: Path, out: Path | None) -> Path:
    """Write the report of the search in `run_dir`, finished or not, and return its path."""
    race, experiment, history = race_of(run_dir)
    end = finish.verdict_of(race, experiment) if race.done else None
    path = out or RunDirectory.open(run_dir).report
    if path.is_dir():
        raise RunDirectoryError(f"cannot write the report {path}: it is a directory. Name a file in it")
    data = experiment.model_dump(mode="json")
    sections = finish.measured_sections(finish.measured_of(experiment, race.state, history), RunDirectory.open(run_dir))
    try:
        return finish.write_report(to_frame(history), race.state, race.criterion, end, data, path, sections)
    except OSError as error:
        raise RunDirectoryError(f"cannot write the report {path}: {error.strerror}") from error


def _seconds(history: Sequence[Entry], driven: bool | None, clock: Clock = CLOCK) -> float:
    """Return for how long drivers have worked: the time between two of them does not count."""
    total, since, last = 0.0, history[0].time_s, history[0].time_s
    for _, time_s, event in history:
        if isinstance(event, Resume):
            total += last - since
            since = time_s
        last = time_s
    now = max(clock.time(), last) if driven else last
    return max(total + now - since, 0.0)


@contextlib.contextmanager
def _warnings_once() -> Iterator[None]:
    """Let the journal's reader say a thing once, however often it looks."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        known = record.getMessage() in said
        said.add(record.getMessage())
        return not known

    log = logging.getLogger("raysearch.storage.journal")
    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)
