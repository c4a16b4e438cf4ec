"""What a conductor passes on to those who watch, and how it says that a search cannot go on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from raysearch.errors import WorkloadError
from raysearch.execution.conductor import Conductor
from raysearch.race.race import Race
from raysearch.race.screening import Screening
from raysearch.records import WAIT, Configuration, InstanceKey, InstanceResult, Progress
from raysearch.registry import load
from raysearch.storage.journal import Journal
from raysearch.tracking.silent import Silent

POOL = [Configuration.of({"x": x}) for x in range(8)]


class Views(Silent):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Progress] = []

    def progress(self, progress: Progress) -> None:
        self.shown.append(progress)


def conductor_of(rule: Any, pool: list[Configuration] = POOL, **settings: Any) -> tuple[Conductor, Views]:
    raise_on_failure = settings.pop("raise_on_failure", False)
    race = Race(lambda outcomes: [] if outcomes else pool, load("criteria", "median"), rule, **settings)
    views = Views()
    return Conductor(race, views, raise_on_failure=raise_on_failure), views


def ask(conductor: Conductor) -> InstanceKey:
    answer = conductor.ask()
    assert isinstance(answer, list)
    return answer[0].keys[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_views_follow_what_is_handed_out_at_most_ten_times_a_second(clock: list[float]) -> None:
    conductor, views = conductor_of(load("rules", "exhaustive", n_instances=2))
    for _ in range(5):
        ask(conductor)
    assert [progress.n_running for progress in views.shown] == [1]
    clock[0] += 0.1
    conductor.look()
    assert [progress.n_running for progress in views.shown] == [1, 5]


def test_without_news_views_are_shown_the_time_once_a_second(clock: list[float]) -> None:
    conductor, views = conductor_of(load("rules", "exhaustive", n_instances=1), POOL[:1])
    ask(conductor)
    for _ in range(30):
        clock[0] += 0.1
        assert conductor.ask() is WAIT
    assert 3 <= len(views.shown) <= 4
    assert views.shown[-1].n_running == 1
    assert views.shown[-1].elapsed_s == pytest.approx(3.0, abs=0.2)


def test_after_a_result_views_see_what_runs_in_its_place(clock: list[float]) -> None:
    conductor, views = conductor_of(load("rules", "exhaustive", n_instances=5))
    keys = [ask(conductor) for _ in range(4)]
    for _ in range(10):
        clock[0] += 0.5
        conductor.tell(InstanceResult.of(keys.pop(0), 1.0))
        keys.append(ask(conductor))
    assert [progress.n_running for progress in views.shown[1:]] == [4] * 10
    assert [progress.n_finished for progress in views.shown[1:]] == list(range(1, 11))


def test_the_end_is_shown_at_once(clock: list[float]) -> None:
    conductor, views = conductor_of(load("rules", "exhaustive", n_instances=1), POOL[:1])
    conductor.tell(InstanceResult.of(ask(conductor), 1.0))
    assert views.shown[-1].n_finished == 1


@pytest.mark.parametrize(("settings", "n"), [({"raise_on_failure": True}, 1), ({}, 5)])
def test_a_search_that_cannot_go_on_says_how_it_can(settings: dict[str, Any], n: int, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.write({"event": "start", "version": 1})
        rule = load("rules", "exhaustive", n_instances=1)
        conductor, _ = conductor_of(rule, journal=journal, retries=0, **settings)
        for _ in range(n):
            assert conductor.failure is None
            conductor.fail(ask(conductor), "ZeroDivisionError: by zero")
    assert isinstance(conductor.failure, WorkloadError)
    assert f"`raysearch resume {tmp_path} --retry-failed`" in str(conductor.failure)
    assert str(conductor.failure).endswith("ZeroDivisionError: by zero")


def test_executors_hear_of_instances_that_will_not_go_on() -> None:
    rule = load("rules", "exhaustive", n_instances=2)
    conductor, _ = conductor_of(rule, POOL[:2], screening=Screening())
    heard: list[InstanceKey] = []
    conductor.on_given_up = heard.append
    first, second = ask(conductor), ask(conductor)
    conductor.screen_out(first, (3.0,), 2.0, 1.0, "")
    assert heard == conductor.given_up == [first]
    conductor.screen_out(second, (3.0,), 2.0, 1.0, "")  # somebody must win: it is trained again
    assert heard == conductor.given_up == [first]
    again = ask(conductor)
    assert again == second
    conductor.stop(again)
    assert heard == [first, second]
    assert set(conductor.given_up) == {first, second}
