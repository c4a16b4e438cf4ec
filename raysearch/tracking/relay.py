"""What events say to a tracker: the one way from a race to those who watch it, live, resumed or told again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from raysearch.criteria.summary import summaries
from raysearch.race.race import Race
from raysearch.records import Progress, TrialRequest
from raysearch.rules import Elimination
from raysearch.storage.events import Decide, Drop, Eliminate, Event, Measured, Screen, Tell
from raysearch.tracking import Tracker
from raysearch.tracking.abilities import ShowsIntervals, Timed


class Relay:
    """Tells a tracker of the events of a race, each when the race's state has taken it in.

    `progress` returns a moment of the race, for the tracker to keep when another round begins.
    """

    def __init__(self, race: Race, tracker: Tracker, progress: Callable[[], Progress]) -> None:
        self.race, self.tracker, self._progress = race, tracker, progress
        self.advanced: Callable[[Progress], None] = tracker.advanced
        self._at = tracker.at if isinstance(tracker, Timed) else None  # asked once: it is told of every event
        self._round = race.state.round

    def hear(self, event: Event, time_s: float) -> None:
        """Tell of an event that happened at `time_s`, in seconds since 1970."""
        if self._at is not None:
            self._at(time_s)
        state = self.race.state
        match event:
            case TrialRequest():
                self.tracker.started(event)
            case Tell(result, phase):
                self.tracker.told(state.configuration(result.key.configuration_id), result, phase)
            case Screen() | Eliminate():
                self._cut(state.eliminations[-1])
            case Drop(id_):
                row = state.pool.rows[id_]
                tell_scores(self.race, self.tracker, {row: state.pool.losses.shape[1]}, state.eliminations[-1].round)
                self.tracker.eliminated([state.configuration(id_)], state.eliminations[-1])
            case Measured(measure, id_, seed, numbers):
                named = {f"{measure}.{name}": value for name, value in numbers.items()}
                self.tracker.measured(state.configuration(id_), seed, named)
        if state.round != self._round and isinstance(event, Eliminate | Decide):
            self.advanced(self._progress())
        self._round = state.round

    def _cut(self, cut: Elimination[str]) -> None:
        """Tell the scores of all that were in a round, then who is out; who was screened out was in none."""
        state = self.race.state
        if cut.round:
            _, n_instances, rows = state.rounds[-1]
            tell_scores(self.race, self.tracker, dict.fromkeys(rows, n_instances), cut.round)
        self.tracker.eliminated([state.configuration(id_) for id_ in cut.configurations], cut)


def tell_scores(race: Race, tracker: Tracker, n_instances: Mapping[int, int], round_: int) -> None:
    """Tell a tracker the statistics of configurations: by row of the loss matrix over how many of its columns."""
    pool, sure = race.state.pool, isinstance(tracker, ShowsIntervals) and tracker.shows_intervals
    losses = pool.losses[list(n_instances), : max(n_instances.values(), default=0)].copy()
    losses[np.arange(losses.shape[1]) >= np.array([*n_instances.values()]).reshape(-1, 1)] = np.nan
    for row, summary in zip(n_instances, summaries(losses, race.criterion, intervals=sure), strict=True):
        if summary is not None:
            tracker.scored(pool.configurations[row], round_, summary)
