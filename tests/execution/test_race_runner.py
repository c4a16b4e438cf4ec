"""What a runner passes on to those who watch, and how it says that a search cannot go on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from raysearch.errors import WorkloadError
from raysearch.execution.race_runner import RaceRunner
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


def runner_of(rule: Any, pool: list[Configuration] = POOL, **settings: Any) -> tuple[RaceRunner, Views]:
    raise_on_failure = settings.pop("raise_on_failure", False)
    race = Race(lambda outcomes: [] if outcomes else pool, load("criteria", "median"), rule, **settings)
    views = Views()
    return RaceRunner(race, views, raise_on_failure=raise_on_failure), views


def ask(runner: RaceRunner) -> InstanceKey:
    answer = runner.ask()
    assert isinstance(answer, list)
    return answer[0].keys[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_views_follow_what_is_handed_out_at_most_ten_times_a_second(clock: list[float]) -> None:
    runner, views = runner_of(load("rules", "exhaustive", n_instances=2))
    for _ in range(5):
        ask(runner)
    assert [progress.n_running for progress in views.shown] == [1]
    clock[0] += 0.1
    runner.look()
    assert [progress.n_running for progress in views.shown] == [1, 5]


def test_without_news_views_are_shown_the_time_once_a_second(clock: list[float]) -> None:
    runner, views = runner_of(load("rules", "exhaustive", n_instances=1), POOL[:1])
    ask(runner)
    for _ in range(30):
        clock[0] += 0.1
        assert runner.ask() is WAIT
    assert 3 <= len(views.shown) <= 4
    assert views.shown[-1].n_running == 1
    assert views.shown[-1].elapsed_s == pytest.approx(3.0, abs=0.2)


def test_after_a_result_views_see_what_runs_in_its_place(clock: list[float]) -> None:
    runner, views = runner_of(load("rules", "exhaustive", n_instances=5))
    keys = [ask(runner) for _ in range(4)]
    for _ in range(10):
        clock[0] += 0.5
        runner.tell(InstanceResult.of(keys.pop(0), 1.0))
        keys.append(ask(runner))
    assert [progress.n_running for progress in views.shown[1:]] == [4] * 10
    assert [progress.n_finished for progress in views.shown[1:]] == list(range(1, 11))


def test_the_end_is_shown_at_once(clock: list[float]) -> None:
    runner, views = runner_of(load("rules", "exhaustive", n_instances=1), POOL[:1])
    runner.tell(InstanceResult.of(ask(runner), 1.0))
    assert views.shown[-1].n_finished == 1


@pytest.mark.parametrize(("settings", "n"), [({"raise_on_failure": True}, 1), ({}, 5)])
def test_a_search_that_cannot_go_on_says_how_it_can(settings: dict[str, Any], n: int, tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.write({"event": "start", "version": 1})
        rule = load("rules", "exhaustive", n_instances=1)
        runner, _ = runner_of(rule, journal=journal, retries=0, **settings)
        for _ in range(n):
            assert runner.failure is None
            runner.fail(ask(runner), "ZeroDivisionError: by zero")
    assert isinstance(runner.failure, WorkloadError)
    assert f"`raysearch resume {tmp_path} --retry-failed`" in str(runner.failure)
    assert str(runner.failure).endswith("ZeroDivisionError: by zero")


def test_executors_hear_of_instances_that_will_not_go_on() -> None:
    rule = load("rules", "exhaustive", n_instances=2)
    runner, _ = runner_of(rule, POOL[:2], screening=Screening())
    heard: list[InstanceKey] = []
    runner.on_given_up = heard.append
    first, second = ask(runner), ask(runner)
    runner.screen_out(first, (3.0,), 2.0, 1.0, "")
    assert heard == runner.given_up == [first]
    runner.screen_out(second, (3.0,), 2.0, 1.0, "")  # somebody must win: it is trained again
    assert heard == runner.given_up == [first]
    again = ask(runner)
    assert again == second
    runner.stop(again)
    assert heard == [first, second]
    assert set(runner.given_up) == {first, second}
