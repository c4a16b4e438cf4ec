"""Defects that worlds found, each as a plain test; the seed is that of the world as it was then."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from races import Memory, drive, make_race, once, pool_of, result_of, trials
from world.machine import Clock, Disk, Fuse

from raysearch import registry
from raysearch.driver.resume import resume, rule_in_force
from raysearch.driver.run import run
from raysearch.driver.sync import out_of_date, tell_again
from raysearch.errors import JournalError
from raysearch.execution.race_runner import RaceRunner
from raysearch.experiment.experiment import from_data
from raysearch.race.race import Race
from raysearch.records import InstanceKey, InstanceResult, Status
from raysearch.rules import Decision, RuleVerdict
from raysearch.storage.decoding import Entry
from raysearch.storage.events import Decide, Reopen, Resume, Retry, Start, Wave
from raysearch.storage.journal import Journal, read
from raysearch.tracking.silent import Silent

LOSSES = np.arange(160.0).reshape(4, 40)
SEARCH = {
    "name": "found",
    "seed": 3,
    "workload": "synthetic",
    "space": {"level": [0.1, 0.2, 0.3]},
    "criterion": "mean",
    "rule": {"name": "halving", "warmup": 1},
    "race": {"confirm": 0},
    "execution": "local",
    "tracking": None,
}


def rebuilt(journal: Memory, **settings: Any) -> Any:
    made = make_race(LOSSES, journal=journal, **settings)
    made.replay(journal.entries)
    return made


def test_a_workload_may_say_failed_in_plain_text() -> None:  # world 83
    race = make_race(LOSSES, retries=1)
    (block,) = trials(race)
    (key,) = block.keys
    RaceRunner(race, Silent()).complete(block, [InstanceResult(key, 1.0, "FAILED")])  # type: ignore[arg-type]
    assert race.state.attempts[key] == 1
    assert key in race.state.retry_queue, "it is tried again, as any other failure"


def test_a_disk_that_fails_at_the_opening_of_a_journal_is_a_clear_error() -> None:  # world 134
    disk, path = Disk(Fuse(), random.Random(0)), Path("/journal.jsonl")
    with Journal(path, disk, Clock()) as journal:
        journal.append(Start({}))
    disk.files[path].seen += b'{"event":'
    disk.faults["stuck"] = 1
    with pytest.raises(JournalError, match=r"cannot cut the torn last line .*Input/output error.*Mend the disk"):
        Journal(path, disk, Clock())
    Journal(path, disk, Clock()).close()  # it let go of the lock
    assert disk.files[path].seen.endswith(b"\n")


def test_an_instance_whose_last_try_failed_gets_no_other_one_from_the_next_driver() -> None:  # worlds 211 and 252
    journal = Memory()
    race = make_race(LOSSES, journal=journal, retries=0)
    (block,) = trials(race)
    (key,) = block.keys
    race.fail(key, "crashed", "there")
    assert journal.events[-1]["event"] == "tell"
    del journal.events[-1]  # the driver died between the failure and what follows from it
    race = rebuilt(journal, retries=0)
    race.requeue_running()
    told = journal.entries[-1].event.result
    assert (told.key, told.status, told.attempt, told.error, told.node) == (key, Status.FAILED, 1, "crashed", "there")
    assert key not in [one for block in trials(race, 9) for one in block.keys]


def test_more_retries_give_it_another_one() -> None:
    journal = Memory()
    race = make_race(LOSSES, journal=journal, retries=0)
    (key,) = trials(race)[0].keys
    race.fail(key, "crashed")
    del journal.events[-1]
    race = rebuilt(journal, retries=1)
    race.requeue_running()
    assert trials(race)[0].keys == (key,)


def test_a_rule_that_was_named_and_never_decided_is_asked_for_by_a_plain_resume(tmp_path: Path) -> None:
    run_dir, journal = tmp_path / "run", tmp_path / "run" / "journal.jsonl"
    run(from_data(SEARCH), run_dir)
    other = from_data({**SEARCH, "rule": {"name": "exhaustive", "n_instances": 3}})
    with Journal(journal) as opened:  # `resume --set rule=...` dies before it opens the pool anew
        opened.append(Resume(other.model_dump(mode="json")))
    assert resume(run_dir).verdict.n_instances == 9
    assert [e["event"] for e in read(journal)].count("reopen") == 1


def test_a_rule_is_in_force_when_the_pool_was_opened_for_it() -> None:  # worlds 134, 312 and 452
    pool, opened = Wave(tuple(pool_of(2))), Reopen(whole_pool=True)
    for expected, *events in (
        (None,),
        ("a", Start({"r": "a"}), pool),
        ("b", Start({"r": "a"}), Resume({"r": "b"}), pool),
        ("a", Start({"r": "a"}), pool, Resume({"r": "b"})),
        ("a", Start({"r": "a"}), pool, Resume({"r": "b"}), Resume({"r": "b"})),
        ("a", Start({"r": "a"}), pool, Resume({"r": "b"}), Reopen(whole_pool=False)),
        ("b", Start({"r": "a"}), pool, Resume({"r": "b"}), opened),
        ("b", Start({"r": "a"}), pool, Resume({"r": "b"}), opened, Resume({"r": "a"})),
    ):
        history = [Entry(number, 0.0, event) for number, event in enumerate(events, start=1)]
        assert rule_in_force(history, lambda number, event: event.experiment["r"]) == expected, events


def test_a_driver_that_dies_while_it_takes_failures_back_leaves_no_verdict_on_them() -> None:
    journal = Memory()
    race = make_race(LOSSES, journal=journal, retries=0, rule=("exhaustive", {"n_instances": 1}))
    while not race.done:
        for block in trials(race, 9):
            race.fail(block.keys[0], "no disk")
    race.retry_failed()
    kinds = [type(entry.event) for entry in journal.entries]
    first = kinds.index(Retry)
    assert kinds[first:] == [Retry] * len(LOSSES)
    for n in range(len(LOSSES)):  # it dies after any of them
        cut = Memory()
        cut.events = journal.events[: first + 1 + n]
        again = rebuilt(cut, retries=0, rule=("exhaustive", {"n_instances": 1}))
        again.requeue_running()
        again.retry_failed()
        assert not again.done
        asked = [key for block in trials(again, 9) for key in block.keys]
        assert len(asked) == len(LOSSES), "all of them are trained again"


class Rounds(Silent):
    rounds: list[int] = []  # noqa: RUF012

    def advanced(self, progress: Any) -> None:
        self.rounds.append(progress.round)


def test_each_round_is_told_once_where_a_wave_begins_in_the_round_in_which_one_ended() -> None:  # worlds 130, 169
    waves = pool_of(4)
    journal = Memory()
    settings: dict[str, Any] = {"rule": ("halving", {"warmup": 1})}
    made = make_race(
        LOSSES, journal=journal, propose=lambda outcomes: waves[len(outcomes) : len(outcomes) + 2], **settings
    )
    while not made.done:
        for block in trials(made, 4):
            made.tell(*(result_of(made, key, LOSSES) for key in block.keys))
    tracker = Rounds()
    tracker.rounds.clear()
    tell_again(journal.entries, make_race(LOSSES, **settings), tracker, Path())
    assert len(tracker.rounds) == len(set(tracker.rounds)) > 1


def test_rounds_before_a_new_beginning_are_out_of_date() -> None:
    journal = Memory()
    for event in (Decide(2), Reopen(whole_pool=True), Decide(3)):
        journal.append(event)
    assert out_of_date(journal.entries) == {1}


@dataclass(frozen=True)
class FirstToFinish:
    """A rule: everybody starts; who ends first wins, and nobody is cut."""

    def decide(self, losses: Any, pending: Any, criterion: Any) -> Decision:
        n_ended = np.count_nonzero(~np.isnan(losses), axis=1)
        new, ended = np.flatnonzero(n_ended + pending == 0).tolist(), np.flatnonzero(n_ended).tolist()
        return Decision((), (), RuleVerdict(ended[0], (ended[0],))) if ended and not new else Decision(tuple(new))

    def plan(self, n_configurations: int) -> tuple[int, int]:
        return n_configurations, n_configurations


def test_who_lost_a_wave_whose_rule_cut_nobody_trains_no_more() -> None:  # world 688
    waves, mean = pool_of(4), registry.load("criteria", "mean")
    race = Race(lambda outcomes: waves[len(outcomes) : len(outcomes) + 2], mean, FirstToFinish())
    winner, loser = [block.keys[0] for block in trials(race, 2)]
    race.tell(result_of(race, winner, LOSSES))
    assert race.state.wave == 2
    assert not race.state.awaited(loser), "nobody waits for it: it is stopped"
    race = Race(lambda outcomes: waves[len(outcomes) : len(outcomes) + 2], mean, FirstToFinish())
    winner, loser = [block.keys[0] for block in trials(race, 2)]
    race.fail(loser, "crashed")
    race.tell(result_of(race, winner, LOSSES))
    assert loser.configuration_id not in {block.configuration.id for block in trials(race, 9)}


@dataclass(frozen=True)
class TwoEachThenTheFirst:
    """A rule with a window that starts two instances of who is new, and takes the first row once it has seen one."""

    wanted_window: int = 2

    def decide(self, losses: Any, pending: Any, criterion: Any) -> Decision:
        n_seen = int(np.count_nonzero(~np.isnan(losses[-1])))
        if n_seen + pending[-1] < (2 if n_seen else 1):
            return Decision(train=(len(losses) - 1,))
        return Decision(verdict=RuleVerdict(0, (0,))) if n_seen else Decision()

    def plan(self, n_configurations: int) -> tuple[int, int]:
        return 1, 2 * n_configurations


def test_a_rule_that_waits_for_an_instance_of_an_earlier_wave_hears_that_it_is_stopped() -> None:  # world 325
    every = pool_of(3)
    race = Race(
        lambda known: every[len(known) : len(known) + 1], registry.load("criteria", "mean"), TwoEachThenTheFirst()
    )
    race.begin(1)
    _, second = (key for _ in range(2) for key in next_keys(race))
    race.tell(result_of(race, second, LOSSES))
    (third,) = next_keys(race)
    assert third.configuration_id == every[1].id
    (fourth,) = next_keys(race)
    (fifth,) = [one for block in trials(race, 1) for one in block.keys]
    assert fifth.configuration_id == every[2].id
    assert not race.state.awaited(fourth)


def next_keys(race: Any) -> list[InstanceKey]:
    """Return who is asked for next, once all that ran before has been told, but for one that was asked for last."""
    keys = [key for block in trials(race, 1) for key in block.keys]
    for key in keys:
        if race.state.seeds.index(key.seed)[1] == 0:
            race.tell(result_of(race, key, LOSSES))
    return keys


@dataclass(frozen=True)
class TwoOfEach:
    """A rule with a window that trains two instances of each, the last row first."""

    wanted_window: int = 1

    def decide(self, losses: Any, pending: Any, criterion: Any) -> Decision:
        n_seen = np.count_nonzero(~np.isnan(losses), axis=1)
        lacking = [row for row in reversed(range(len(losses))) for _ in range(2 - int(n_seen[row] + pending[row]))]
        return Decision(verdict=RuleVerdict(0, (0,))) if (n_seen >= 2).all() else Decision(train=tuple(lacking))

    def plan(self, n_configurations: int) -> tuple[int, int]:
        return 2 * n_configurations, 2 * n_configurations


def test_a_rule_that_waits_for_a_failure_of_who_is_out_hears_that_it_is_stopped() -> None:  # world 1687, in Tune
    race = Race(once(pool_of(3)), registry.load("criteria", "mean"), TwoOfEach())
    race.begin(1)
    first, second, *others = (key for block in trials(race, 6) for key in block.keys)
    race.tell(*(result_of(race, key, LOSSES) for key in others))
    race.screen_out(first, [9.0], 1.0, 0.1, "")
    race.fail(second, "crashed")
    race.ask(1)
    assert race.done


@dataclass(frozen=True)
class OneAtATime(TwoOfEach):
    """Asks for a single instance at every look, of the last row that has least."""

    wanted_window: int = 8

    def decide(self, losses: Any, pending: Any, criterion: Any) -> Decision:
        n_seen = np.count_nonzero(~np.isnan(losses), axis=1)
        if (n_seen >= 2).all():
            return Decision(verdict=RuleVerdict(0, (0,)))
        started = n_seen + pending
        lacking = [row for row in reversed(range(len(losses))) if started[row] < 2]
        return Decision(train=tuple(sorted(lacking, key=lambda row: int(started[row]))[:1]))


def test_a_rule_hears_that_who_it_asked_for_was_screened_out_before_the_turn_came() -> None:  # worlds 1018453, 1041206
    race = Race(once(pool_of(3)), registry.load("criteria", "mean"), OneAtATime())
    race.begin(1)
    first, second, third = (key for block in trials(race, 3) for key in block.keys)
    race.tell(result_of(race, third, LOSSES))  # now another one of the first is to be asked for
    race.screen_out(first, [9.0], 1.0, 0.1, "")
    race.tell(result_of(race, second, LOSSES))
    left = drive(race, LOSSES)
    assert sorted(key.configuration_id for key in left) == sorted([second.configuration_id, third.configuration_id])
    assert race.done


@dataclass(frozen=True)
class BestOfSeen(TwoOfEach):
    """A rule that keeps who it has not seen up with the others, then trains who looks best to its third instance."""

    wanted_window: int = 8

    def decide(self, losses: Any, pending: Any, criterion: Any) -> Decision:
        n_seen = np.count_nonzero(~np.isnan(losses), axis=1)
        started = n_seen + pending
        if (n_seen == 0).any():
            return Decision(train=tuple(np.flatnonzero(started < max(started.max(), 1)).tolist()))
        best = int(np.argmin(losses[:, 0]))
        if n_seen[best] >= 3:
            return Decision(verdict=RuleVerdict(best, (best,)))
        return Decision(train=(best,) if started[best] < 3 else ())


@pytest.mark.parametrize("n_told", range(4))
def test_a_rule_with_a_window_sees_no_less_after_a_resume_than_it_had(n_told: int) -> None:  # worlds 2116449, 2166148
    settings = {"criterion": registry.load("criteria", "mean"), "rule": BestOfSeen(), "propose": once(pool_of(2))}
    undisturbed = Race(**settings)
    undisturbed.begin(1)
    drive(undisturbed, LOSSES)
    journal = Memory()
    killed = Race(**settings, journal=journal)
    killed.begin(1)
    keys = [key for block in trials(killed, 2) for key in block.keys]
    for _ in range(n_told):
        killed.tell(result_of(killed, keys.pop(0), LOSSES))
        keys += [key for block in trials(killed, 1) for key in block.keys]
    again = Race(**settings)
    again.replay(journal.entries)
    again.requeue_running()
    again.begin(1)
    drive(again, LOSSES)
    assert again.state.asked == undisturbed.state.asked
