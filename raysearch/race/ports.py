"""What a race is connected to: where its events go, and where its configurations come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from raysearch.records import Configuration, Outcome
from raysearch.storage.events import Event


class Writer(Protocol):
    """What a race needs of a journal."""

    def append(self, event: Event, time_s: float, /) -> None:
        """Bring an event, and when it happened in seconds since 1970, to disk."""


Propose = Callable[[Sequence[Outcome]], Sequence[Configuration]]
"""A sampler's proposal: outcomes so far -> next wave; known configurations are left out, an empty wave ends it."""
Listener = Callable[[Event, float], None]
"""Hears every event when the state has taken it in, with its time; it must not raise."""
