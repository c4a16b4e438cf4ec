"""What a tracker may offer beside its contract, and who asks for it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from raysearch.tracking import Tracker


@runtime_checkable
class Timed(Protocol):
    """A tracker that keeps when things happened."""

    def at(self, time_s: float) -> None:
        """Let what is told from now on have happened then, in seconds since 1970."""


@runtime_checkable
class ShowsIntervals(Protocol):
    """A tracker that shows how sure a criterion is: `scored` gets summaries with intervals, which take a while."""

    @property
    def shows_intervals(self) -> bool:
        """Whether it does."""


@runtime_checkable
class Writes(Protocol):
    """A tracker that writes behind the race."""

    @property
    def backlog(self) -> int:
        """Number of records that are still to be written."""

    @property
    def n_lost(self) -> int:
        """Number of records that could not be written; the journal has them."""


@runtime_checkable
class MakesRoom(Protocol):
    """A tracker that keeps only so many records waiting."""

    def make_room(self) -> None:
        """Wait until there is room for more."""


@runtime_checkable
class Browsable(Protocol):
    """A tracker whose records can be looked at."""

    @property
    def address(self) -> str:
        """Where: a command to start, if any, and a link; empty before `open`."""


@runtime_checkable
class Beside(Protocol):
    """A watcher that shows how far the experiment's tracker is behind."""

    def beside(self, tracker: Tracker) -> None:
        """Look at this tracker, once, before `open`."""
