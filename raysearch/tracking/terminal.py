"""The terminal as a tracker: a live view in a terminal or a notebook, plain lines at a calm pace elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any

from annotated_types import Ge
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raysearch.records import (
    Configuration,
    InstanceResult,
    Model,
    Phase,
    Progress,
    Status,
    Summary,
    TrialRequest,
    Verdict,
)
from raysearch.registry import Validated
from raysearch.rules import Elimination
from raysearch.tracking import Tracker
from raysearch.tracking import _words as words
from raysearch.tracking._cell import Cell
from raysearch.tracking.abilities import Writes
from raysearch.tracking.silent import Silent

N_EVENTS = 5
LATE = 100
"""Records that a tracker has still to write before anybody is told."""


def render(
    progress: Progress, title: str = "", events: Sequence[str] = (), n_behind: int | None = None
) -> RenderableType:
    """Return the view of a moment of a race: title, bar, survivors, incumbent, what went wrong, last events.

    `n_behind`: records that another tracker has still to write, where that is worth a row.
    """
    head = Table.grid(expand=True)
    head.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text(title, style="bold"), Text(words.stage(progress), style="bold cyan"))
    bar = Table.grid(expand=True, padding=(0, 2, 0, 0))
    bar.add_column(ratio=1)
    for _ in range(2):
        bar.add_column(no_wrap=True)
    total = max(progress.n_expected, progress.n_finished, 1)
    bar.add_row(
        ProgressBar(total=total, completed=progress.n_finished, width=None),
        words.instances(progress),
        words.times(progress),
    )
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(no_wrap=True, overflow="ellipsis")
    facts.add_row("survivors", f"{progress.n_survivors:,} of {progress.n_configurations:,} configurations")
    facts.add_row("incumbent", Text(words.incumbent(progress)))  # a user's names and values are no markup
    if trouble := words.trouble(progress):
        facts.add_row("trouble", Text(trouble, style="yellow"))
    if n_behind is not None:
        facts.add_row("tracker", words.behind(n_behind))
    lines = [Text(event, style="dim", no_wrap=True, overflow="ellipsis") for event in events]
    return Group(head, bar, facts, *lines)


class _Screen:
    """What a terminal holds while a search is open."""

    def __init__(
        self, console: Console, search: Mapping[str, Any], every_s: float, beside: Tracker | None = None
    ) -> None:
        self.console, self.title, self.every_s = console, words.title(search), every_s
        self.criterion = words.plugin(search.get("criterion"))
        self.progress: Progress | None = None
        self.events: deque[str] = deque(maxlen=N_EVENTS)
        self.wave: list[Elimination[str]] = []
        self.phase = Phase.RACE
        self.finished = False
        self._beside, self._late = beside, False
        self._received = self._last_line = time.monotonic()
        self._live: Live | Cell | None = None
        if console.is_jupyter:  # rich's Live would ask for ipywidgets
            self._live = Cell(self._view)
        elif console.is_terminal:
            self._live = Live(console=console, get_renderable=self._view, refresh_per_second=4)
        if self._live is not None:
            self._live.start()
        else:
            self.say(self.title)

    def say(self, text: str) -> None:
        """Add an event: above the live view's fold, or as a line of its own."""
        line = f"{time.strftime('%H:%M:%S')}  {text}"
        if self._live is None:
            with contextlib.suppress(OSError, ValueError):  # the reader of a pipe may have gone: the race goes on
                print(line, file=self.console.file, flush=True)  # rich would end the process then
            self._last_line = time.monotonic()
        else:
            self.events.append(line)

    def show(self, progress: Progress) -> None:
        """Take in a moment; in a terminal the view's own thread draws it, elsewhere a line follows now and then."""
        self.end_wave(progress.n_survivors)
        progress = dataclasses.replace(progress, criterion=progress.criterion or self.criterion)
        if progress.phase is not self.phase:
            self.phase = progress.phase
            self.say(f"confirmation of {words.incumbent(progress)} on fresh seeds")
        self.progress, self._received = progress, time.monotonic()
        if self._live is None and self._received - self._last_line >= self.every_s:
            self.say(words.line(progress, self._behind()))

    def _behind(self) -> int | None:
        """Return how far the other tracker is behind, None as long as it always kept up: rows that come and go jump."""
        n = self._beside.backlog if isinstance(self._beside, Writes) else 0
        self._late = self._late or n >= LATE
        return n if self._late else None

    def close(self) -> None:
        """Leave the last view standing and let the terminal go."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self.progress is not None and not self.finished:
            self.say(words.line(self.progress))

    def end_wave(self, n_survivors: int) -> None:
        """Tell of eliminations together: all of one look at the matrix are one event."""
        if self.wave:
            self.say(words.wave(self.wave, n_survivors))
            self.wave = []

    def _view(self) -> RenderableType:
        if self.progress is None:
            return Group(Text(self.title, style="bold"), Text("starting the workers …", style="dim"))
        since = 0.0 if self.finished else time.monotonic() - self._received
        left = None if self.finished else self.progress.remaining_s
        now = dataclasses.replace(
            self.progress,
            elapsed_s=self.progress.elapsed_s + since,
            remaining_s=None if left is None else max(0.0, left - since),
        )
        return render(now, self.title, tuple(self.events), self._behind())


@dataclass(frozen=True)
class Terminal(Validated):
    """Shows how a race goes. `every_s`: seconds between plain progress lines, at least 0."""

    every_s: Annotated[float, Ge(0)] = 5.0
    _open: list[_Screen] = field(default_factory=list, init=False, repr=False, compare=False)
    _beside: list[Tracker] = field(default_factory=list, init=False, repr=False, compare=False)

    def beside(self, tracker: Tracker) -> None:
        """Show how far `tracker` is behind."""
        self._beside[:] = [tracker]

    def open(self, search: dict[str, Any], run_dir: Path, file: IO[str] | None = None) -> None:
        """Begin the view on `file`, standard output by default."""
        self._open[:] = [_Screen(Console(file=file or sys.stdout), search, self.every_s, *self._beside)]

    def started(self, train: TrialRequest) -> None:
        """Shown by `progress`."""

    def told(self, configuration: Configuration, result: InstanceResult, phase: Phase) -> None:
        """Tell of an instance that failed for good."""
        if result.status is Status.FAILED:
            for screen in self._open:
                screen.say(words.failure(result))

    def scored(self, configuration: Configuration, round: int, summary: Summary) -> None:
        """Shown by `progress`."""

    def eliminated(self, configurations: Sequence[Configuration], cut: Elimination[str]) -> None:
        """Gather eliminations until the next `progress`."""
        for screen in self._open:
            if cut.reason:
                screen.say(f"{cut.configurations[0]} {cut.reason}")
            else:
                screen.wave += [cut] if cut.configurations else []

    def advanced(self, progress: Progress) -> None:
        """Show how a round begins."""
        self.progress(progress)

    def progress(self, progress: Progress) -> None:
        """Show a moment of the race."""
        for screen in self._open:
            screen.show(progress)

    def measured(self, configuration: Configuration, seed: int | None, numbers: Mapping[str, float]) -> None:
        """Pass over: the report shows measures."""

    def finished(self, verdict: Verdict, artifacts: dict[str, Path], model: Model | None) -> None:
        """Tell the winner; the rest is the command's to print."""
        for screen in self._open:
            screen.end_wave(max(1, len(verdict.indistinguishable)))
            screen.finished = True
            screen.say(f"winner {words.named(verdict.winner)}")

    def close(self) -> None:
        """End the view."""
        for screen in self._open:
            screen.close()
        self._open.clear()


class Where(Silent):
    """Says early where a search is kept, so that it can be watched from another terminal and gone on with.

    `say` gets the line, and `more` after it; `keep` gets the directory.
    """

    def __init__(self, say: Callable[[str], None], keep: Callable[[Path], None], more: str = "") -> None:
        self._say, self._keep, self._more = say, keep, more

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        """Say it."""
        self._keep(run_dir)
        self._say(f"Run directory: {run_dir}")
        if self._more:
            self._say(self._more)
