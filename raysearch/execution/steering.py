"""What people ask of a running search, from its run directory to its race."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from raysearch.errors import StoppedError
from raysearch.race.race import Race
from raysearch.storage.clock import Clock
from raysearch.storage.events import Event, Halt, Pause
from raysearch.storage.requests import Request, Requests

_LOOK_EVERY_S = 0.25


def run_dir_of(race: Race) -> Path | None:
    """Return the directory of a race's journal, None where it keeps none."""
    path: Path | None = getattr(race.journal, "path", None)
    return None if path is None else path.parent


class Steering:
    """Does what requests ask for. Of a race that keeps no journal nobody can ask for anything."""

    def __init__(self, race: Race, clock: Clock) -> None:
        self._race, self._clock = race, clock
        run_dir = run_dir_of(race)
        self._requests = None if run_dir is None else Requests(run_dir)
        self._where = str(run_dir or "RUN_DIR")
        self._looked = -math.inf
        self._stopping = self._now = False
        if race.state.paused:  # whoever goes on with a search wants it to go on
            race.note(Pause(False, "a new driver"))

    @property
    def holds(self) -> bool:
        """Whether no further instance is to begin."""
        return (self._stopping or self._race.state.paused) and not self._race.done

    def new(self) -> list[Request]:
        """Return what was asked for since the last call; looked up every now and then."""
        if self._requests is None or self._clock.monotonic() < self._looked + _LOOK_EVERY_S:
            return []
        self._looked = self._clock.monotonic()
        return self._requests.more()

    def do(self, requests: Iterable[Request]) -> list[Event]:
        """Return the events that requests led to."""
        return [event for request in requests for event in self._do(request)]

    def ended(self) -> StoppedError | None:
        """Return why the search ends now: it was asked to, and nothing runs any more."""
        if not self._stopping or (self._race.state.running and not self._now) or self._race.done:
            return None
        return StoppedError(f"stopped, as asked. Nothing is lost: `raysearch resume {self._where}` goes on")

    def _do(self, request: Request) -> list[Event]:
        race = self._race
        match request.kind:
            case "stop":
                first = not self._stopping or (request.now and not self._now)
                self._stopping, self._now = True, self._now or request.now
                return race.note(Halt(request.now, request.by)) if first else []
            case "pause" | "unpause":
                on = request.kind == "pause"
                return race.note(Pause(on, request.by)) if on != race.state.paused else []
            case "drop":
                return race.drop(request.configuration_id, request.reason, request.by)
