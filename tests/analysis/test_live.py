"""What the live page is told of a race, at every moment of it."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from races import drive, make_race, pool_of, trials

from raysearch.analysis.duel import duel
from raysearch.analysis.live import LiveRace
from raysearch.analysis.live_runs import Overview
from raysearch.analysis.live_sections import sections, why
from raysearch.driver.watch import race_of
from raysearch.experiment.experiment import from_data
from raysearch.race.verdict import incumbent
from raysearch.records import InstanceResult
from raysearch.rules import Elimination
from raysearch.storage import events as e
from raysearch.storage.journal import Journal

RULES = {
    "halving": ("halving", {"warmup": 2}),
    "top_two": ("top_two", {"certify": 4, "cap": 12}),
}


def experiment_of(rule, n=8, **more):
    section = {"name": rule[0], **rule[1]}
    race = {"confirm": more.pop("confirm", 3)}
    data = {"name": "seen", "workload": "synthetic", "space": {"level": list(range(n))}, "criterion": "mean"}
    return from_data({**data, "rule": section, "race": race, "tracking": None, **more}).model_dump(mode="json")


class Driver:
    """Writes a journal as a driver does, at a time of its own."""

    def __init__(self, folder: Path, losses, rule="halving", **settings):
        folder.mkdir(exist_ok=True)
        self.path, self.losses, self.now = folder / "journal.jsonl", losses, 1.7e9
        self.data = experiment_of(RULES[rule], len(losses))
        self.journal = Journal(self.path)
        self.opened.append(self.journal)
        self.journal.append(e.Start(self.data), self.now)
        self.race = make_race(
            losses, rule=RULES[rule], journal=self.journal, confirm=3, clock=lambda: self.now, **settings
        )

    def finish(self, **how):
        drive(self.race, self.losses, **how)
        self.journal.close()


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """Close what a failed test left open."""
    opened = []
    monkeypatch.setattr(Driver, "opened", opened, raising=False)
    yield
    for journal in opened:
        journal.close()


@pytest.fixture
def losses():
    generator = np.random.default_rng(1)
    return 1 + 0.2 * np.arange(8)[:, None] + generator.normal(0, 0.1, (8, 40))


def followed(path):
    live = LiveRace(path, race_of)
    while live.read():
        pass
    return live


def strict(shown):
    """Return sections after a round through JSON, which knows no NaN."""
    return json.loads(json.dumps(shown, allow_nan=False))


@pytest.mark.parametrize("rule", RULES)
def test_at_the_end_the_page_says_what_the_state_says(tmp_path, losses, rule):
    driver = Driver(tmp_path / "run", losses, rule)
    driver.finish()
    live = followed(driver.path)
    shown = strict(sections(live))
    state = driver.race.state
    winner = state.pool.configurations[state.verdict.leader].id
    assert shown["head"]["state"] == "finished"
    assert shown["now"]["leader"] == winner == shown["table"]["rows"][0]["id"] == shown["boxes"]["boxes"][0]["id"]
    assert shown["boxes"]["boxes"][0]["fresh"]
    assert shown["now"]["n_finished"] == state.counts["told"]
    assert shown["now"]["remaining_s"] is None
    assert [row[:2] for row in shown["rounds"]["rounds"]][: len(state.rounds)] == [
        [round_, len(rows)] for round_, _, rows in state.rounds
    ]
    assert shown["left"]["n"] == sum(len(cut.configurations) for cut in state.eliminations)
    assert any(winner in sentence for sentence in shown["verdict"]["sentences"])
    assert not shown["running"]["rows"]


@pytest.mark.parametrize("rule", RULES)
def test_at_every_moment_there_is_a_page(tmp_path, losses, rule):
    """After each event, with every kind of bad loss; and the leader is the race's own."""
    losses[3] = np.inf
    losses[5, :6] = [1e300 if rule == "halving" else 1e30, -1e30, np.inf, 1e-300, 0.0, np.inf]
    driver = Driver(tmp_path / "run", losses, rule)
    live, n_leaders = LiveRace(driver.path, race_of), 0
    driver.race.listener = lambda event, time_s: moments.append(look())
    moments = []

    def look():
        while live.read():
            pass
        shown = strict(sections(live))
        return shown["now"]["leader"]

    with np.errstate(invalid="ignore"):  # of the rule
        drive(driver.race, losses, fails=lambda key, attempt: key.seed % 7 == 0, n_workers=3)
    driver.journal.close()
    n_leaders = len(set(moments) - {None})
    assert len(moments) > 30
    assert n_leaders >= 1


def test_what_runs_is_shown_since_it_was_handed_out(tmp_path, losses):
    driver = Driver(tmp_path / "run", losses)
    keys = [key for block in trials(driver.race, 3) for key in block.keys]
    driver.now += 5
    driver.race.tell(InstanceResult.of(keys[0], 1.0, curve=(3.0, 2.0, 1.0), seconds=5.0))
    again = [key for block in trials(driver.race, 1) for key in block.keys]
    shown = strict(sections(followed(driver.path)))
    driver.journal.close()
    rows = shown["running"]["rows"]
    assert {row["seed"] for row in rows} == {key.seed for key in [*keys[1:], *again]}
    assert sorted(row["since"] for row in rows) == [1.7e9, 1.7e9, 1.7e9 + 5]
    assert shown["running"]["typical_s"] == 5.0
    assert shown["now"]["n_running"] == 3


def test_failures_are_grouped_and_those_taken_back_disappear(tmp_path, losses):
    driver = Driver(tmp_path / "run", losses, retries=0)
    (first,), (second,) = (block.keys for block in trials(driver.race, 2))
    for key, number in ((first, 11), (second, 12)):
        driver.race.fail(key, f"Traceback (most recent call last):\n  line\nOSError: disk {number} is full", "node-1")
    (group,) = sections(followed(driver.path))["failures"]["groups"]
    assert (group["n"], group["status"], group["line"]) == (2, "FAILED", "OSError: disk 12 is full")
    assert "Traceback" in group["error"]
    assert {one["seed"] for one in group["examples"]} == {first.seed, second.seed}
    driver.race.retry_failed()
    shown = sections(followed(driver.path))
    driver.journal.close()
    assert shown["failures"]["groups"] == []
    assert shown["now"]["n_failed"] == 0


def test_without_a_driver_an_open_search_is_broken_off(tmp_path, losses):
    driver = Driver(tmp_path / "run", losses)
    live = followed(driver.path)
    assert sections(live)["head"]["state"] == "running"
    driver.journal.close()
    assert sections(live)["head"]["state"] == "broken off"


def test_what_people_ask_for_is_shown(tmp_path, losses):
    driver = Driver(tmp_path / "run", losses)
    trials(driver.race, 4)
    driver.race.drop(pool_of(8)[2].id, "too large", "ada")
    driver.race.note(e.Pause(True, "ada"))
    shown = strict(sections(followed(driver.path)))
    assert shown["head"]["state"] == "paused"
    assert "dropped by a person: too large (ada)" in json.dumps(shown["left"])
    assert shown["left"]["n"] == 1
    driver.race.note(e.Pause(False, "ada"))
    assert sections(followed(driver.path))["head"]["state"] == "running"
    driver.race.note(e.Halt(False, "ada"))
    assert sections(followed(driver.path))["head"]["state"] == "stopping"
    driver.journal.append(e.Resume(driver.data), driver.now)
    assert sections(followed(driver.path))["head"]["state"] == "running", "the next driver was asked for nothing"
    driver.finish()
    shown = strict(sections(followed(driver.path)))
    assert any("was dropped by a person: too large (ada)" in sentence for sentence in shown["verdict"]["sentences"])


def test_it_is_said_why_a_configuration_is_out():
    told = [
        why(Elimination(*cut, ("c",), (1.0,)), "q3") for cut in ((0, 2.0, 0), (1, 2.0, 0), (1, 2.0, 1), (3, 2.0, 4))
    ]
    assert told[0] == "its first instance ended early: its loss was above 2"
    assert told[1].startswith("round 1: never trained")
    assert told[2:] == [
        "round 1: q3 over its instance above the cutoff 2",
        "round 3: q3 over 4 instances above the cutoff 2",
    ]
    assert why(Elimination(1, math.nan, 0, ("c",), (1.0,), "dropped by a person: a hunch"), "q3").startswith(
        "dropped by"
    )


def test_time_between_two_drivers_counts_for_nobody(tmp_path, losses):
    driver = Driver(tmp_path / "run", losses)
    (block,) = trials(driver.race, 1)
    driver.now += 10
    driver.race.tell(InstanceResult.of(block.keys[0], 1.0))
    driver.now += 5000
    driver.journal.append(e.Resume(experiment_of(RULES["halving"], confirm=9)), driver.now)
    driver.now += 7
    trials(driver.race, 1)
    live = followed(driver.path)
    driver.journal.close()
    assert live.worked_s() == pytest.approx(17)
    assert live.race.confirm == 9
    assert live.progress().n_finished == 1


def test_an_empty_journal_and_a_new_one_in_its_place(tmp_path, losses):
    path = tmp_path / "run" / "journal.jsonl"
    path.parent.mkdir()
    path.touch()
    live = followed(path)
    assert sections(live)["head"]["state"] == "empty"
    driver = Driver(tmp_path / "other", losses)
    driver.finish()
    path.write_bytes(driver.path.read_bytes())
    while live.read():
        pass
    assert sections(live)["head"]["state"] == "finished"
    short = driver.path.read_bytes().splitlines(keepends=True)[:4]
    path.write_bytes(b"".join(short))
    while live.read():
        pass
    assert sections(live)["now"]["n_finished"] == 0


def test_the_duel_is_that_of_the_rules_own_beliefs(tmp_path, losses):
    driver = Driver(tmp_path / "run", losses, "top_two")
    driver.finish()
    race = driver.race
    live = followed(driver.path)
    last = live.trace.moments[-1]
    assert last.probability == race.state.verdict.probability
    assert last.leader == race.state.verdict.leader
    assert sum(moment.probability is not None and 0 <= moment.probability <= 1 for moment in live.trace.moments) > 5
    assert duel(make_race(losses)) is None


def test_the_duel_of_a_rule_without_beliefs_is_of_the_two_best_of_equal_depth(losses):
    race = make_race(losses, rule=("exhaustive", {"n_instances": 3}))
    drive(race, losses)
    moment = duel(race)
    means = losses[:, :3].mean(axis=1)
    assert (moment.leader, moment.value) == incumbent(race.state, race.criterion)
    assert moment.value == pytest.approx(means.min())
    assert moment.rival is None, "nobody else is left"
    assert moment.probability is None


def test_a_large_page_stays_small(tmp_path):
    n = 2000
    rng = np.random.default_rng(0)
    losses = rng.lognormal(size=(n, 20))
    race = make_race(losses)
    drive(race, losses, n_workers=50)
    live = LiveRace(tmp_path / "journal.jsonl", race_of)
    live.race, live.experiment, live.caught_up = race, experiment_of(RULES["halving"], 4), True
    live._since = live.changed = time.time()
    (tmp_path / "journal.jsonl").touch()
    assert len(json.dumps(sections(live))) < 200_000


def test_the_overview_reads_each_search_once_and_what_runs_again(tmp_path, losses):
    done = Driver(tmp_path / "a", losses)
    done.finish()
    running = Driver(tmp_path / "b", losses)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "journal.jsonl").write_text("{}\n")
    (tmp_path / "no search").mkdir()
    found = Overview(tmp_path, race_of)
    assert sorted(found.read()) == ["a", "b", "broken"]
    rows = {row["run"]: row for row in strict(found.rows)}
    assert rows["a"]["state"] == "finished"
    assert rows["a"]["leader"] == pool_of(8)[0].id
    assert math.isfinite(rows["a"]["value"])
    assert rows["b"]["state"] == "running"
    assert rows["broken"]["state"] == "damaged"
    assert "journal" in rows["broken"]["error"]
    drive(running.race, losses)
    assert list(found.read()) == ["b"]
    running.journal.close()
    assert list(found.read()) in (["b"], [])
    assert {row["run"]: row["state"] for row in found.rows}["b"] == "finished"
