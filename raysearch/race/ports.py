"""What a race is connected to: where its events go, and where its configurations come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

from raysearch.records import Configuration, Outcome
from raysearch.storage.events import Event


class Writer(Protocol):
    """What a race needs of a journal."""

    def append(self, event: Event, time_s: float, /) -> None:
        """Bring an event, and when it happened in seconds since 1970, to disk."""


@runtime_checkable
class WritesTogether(Protocol):
    """A journal that can wait once for many events."""

    def together(self) -> AbstractContextManager[None]:
        """Return a context at whose end all that was appended inside is on disk."""


def append_all(journal: Writer | None, events: Sequence[Event], time_s: float) -> None:
    """Bring events that happened together to disk: a wait for each would take longer than what a worker trains."""
    if journal is None:
        return
    with journal.together() if len(events) > 1 and isinstance(journal, WritesTogether) else nullcontext():
        for event in events:
            journal.append(event, time_s)


Propose = Callable[[Sequence[Outcome]], Sequence[Configuration]]
"""A sampler's proposal: outcomes so far -> next wave; known configurations are left out, an empty wave ends it."""
Listener = Callable[[Event, float], None]
"""Hears every event when the state has taken it in, with its time; it must not raise."""
