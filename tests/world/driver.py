"""One life of a driver: what `run`, `resume` and `sync` do, over the machine of a world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from raysearch.driver.finish import score
from raysearch.driver.resume import go_on, rule_in_force
from raysearch.driver.sync import tell_again
from raysearch.execution.race_runner import RaceRunner
from raysearch.race.race import Race
from raysearch.race.verdict import verdict
from raysearch.records import Status
from raysearch.storage.decoding import entries
from raysearch.storage.events import Learn, Measured, Resume, Start, Wave
from raysearch.storage.journal import Journal, read
from raysearch.tracking import Tracker
from raysearch.tracking.abilities import Timed

from .auditor import PATH, Auditor
from .books import hold
from .machine import Clock, Content, Disk, Killed
from .setting import Setting

RUN_DIR = Path("/nonexistent/world")
SEARCH = {"name": "world"}


class Driver:
    """Carries a search as far as it gets: `execute` is who trains, and it, the disk or the fuse may end it."""

    def __init__(self, setting: Setting, disk: Disk, clock: Clock, auditor: Auditor | None, tracker: Tracker) -> None:
        self.setting, self.disk, self.clock, self.auditor, self.tracker = setting, disk, clock, auditor, tracker
        self.went_on = False

    def live(self, execute: Callable[[RaceRunner], None], settings: dict[str, Any], *, retry_failed: bool) -> Race:
        """Take the search over, or begin it, and return its race at the end."""
        s, looked = self.setting, False
        with Journal(PATH, self.disk, self.clock) as journal:
            content = self.disk.files[PATH]
            history = list(entries(read(PATH, self.disk)))
            race = s.race_of(journal, self.clock, ahead=s.race["ahead"])
            race.replay(history)
            in_force = rule_in_force(history, lambda n, event: event.experiment["rule"])
            rule_changed = bool(history) and in_force != settings["rule"]
            now = self.clock.time()
            if isinstance(self.tracker, Timed):
                self.tracker.at(now)
            self.tracker.open(SEARCH, RUN_DIR)
            try:
                journal.append(Resume(settings) if history else Start(settings), now)
                self._look(content, race)
                looked = True
                runner = RaceRunner(race, self.tracker, raise_on_failure=s.raise_on_failure, clock=self.clock)
                self._audit(race, content)
                self._look(content, race)  # a new driver's first remark was made before anybody listened
                if s.learnt and not any(isinstance(event, Learn | Wave) for _, _, event in history):
                    race.note(s.lesson())
                if history:
                    go_on(race, s.propose, retry_failed=retry_failed, rule_changed=rule_changed)
                self.went_on = True
                execute(runner)
                self._finish(content, race)
            except Killed:
                if self.auditor is not None and looked:  # what it died with is what it had lived
                    self.auditor.compare(content, race)
                raise
            except BaseException:
                self.tracker.close()
                raise
            self.tracker.close()
            return race

    def _look(self, content: Content, race: Race) -> None:
        if self.auditor is not None:
            self.auditor.look(content, race)

    def _audit(self, race: Race, content: Content) -> None:
        heard = race.listener

        def hear(event: Any, time_s: float) -> None:
            self._look(content, race)
            heard(event, time_s)

        race.listener = hear if self.auditor is not None else heard

    def _finish(self, content: Content, race: Race) -> None:
        """Measure, and tell the verdict, as a driver does when its race is over."""
        auditor = self.auditor
        if auditor is None:
            return
        auditor.look(content, race)
        auditor.ended(content, race)
        seeds = [one.key.seed for one in race.state.confirmation.values() if one.status is Status.COMPLETE]
        winner = race.state.pool.configurations[race.state.winner].id
        for seed in [*seeds, None][: self.setting.measures]:
            race.note(Measured("curvature", winner, seed, {"v": 1.0}))
        found = verdict(race, "c", 1, self.setting.objectives)
        auditor.check_front(found.pareto)
        hold(found.winner.id == auditor.winner, "the verdict names the winner", found.winner.id)
        hold(set(found.survivors) == auditor.members - auditor.out, "survivors raced to the end")
        hold(found.n_instances == auditor.n_asked, "the verdict counts the instances", found.n_instances)
        score(race, self.tracker)
        self.tracker.finished(found, {}, None)

    def sync(self) -> None:
        """Tell the tracker the whole journal, as `raysearch sync` does."""
        with Journal(PATH, self.disk, self.clock):
            history = list(entries(read(PATH, self.disk)))
            self.tracker.at(history[0].time_s)
            self.tracker.open(SEARCH, RUN_DIR)
            race = self.setting.race_of(None, self.clock, ahead=False)
            tell_again(history, race, self.tracker, RUN_DIR)
            if race.done:
                score(race, self.tracker)
                self.tracker.finished(verdict(race, "c", 1), {}, None)
            self.tracker.close()
