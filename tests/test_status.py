"""How a search stands: its failures, whether somebody carries it on, and for how long it worked."""

import json
import math
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from command_line import call, command, finish, shell, typed, write_search
from rich.console import Console

import raysearch
from raysearch.analysis.console import print_failures, print_plan, print_status, print_verdict, print_where_next
from raysearch.analysis.finalists import number
from raysearch.driver.run import Plan
from raysearch.driver.status import read_status
from raysearch.errors import JournalError
from raysearch.records import Configuration, ParetoPoint, Progress, Summary, Verdict
from raysearch.storage.journal import Journal, read
from raysearch.tracking.terminal import render


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_search(tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="module")
def finished(file):
    """A finished search: its directory and what the command printed."""
    return finish(file)


@pytest.fixture(scope="module")
def failing(file, tmp_path_factory):
    """A finished search in which a part of the instances failed for good, and what the command printed."""
    run_dir = tmp_path_factory.mktemp("failing") / "run"
    result = call("run", file, "--run-dir", run_dir, "--set", "workload.fail=0.3", "--set", "race.retries=1")
    assert result.exit_code == 0, result.output
    return run_dir, result.output, int((raysearch.load(run_dir)["status"] == "FAILED").sum())


def test_the_end_of_a_run_says_how_many_failed_and_what_to_do(failing, finished):
    run_dir, output, n_failed = failing
    assert n_failed > 1
    assert f"{n_failed} instances failed for good and count as +inf" in output
    assert f"`raysearch resume {run_dir} --retry-failed`" in output
    assert "failed for good" not in finished[1]


def test_status_shows_the_errors_of_failed_instances(failing):
    run_dir, _, n_failed = failing
    output = call("status", run_dir).output
    assert re.search(rf"failed for good \(count as \+inf\) +{n_failed} *\n", output)
    assert re.search(rf"crashes tried again +{n_failed} *\n", output), "one retry each; the last crash is no retry"
    last = raysearch.load(run_dir).query("status == 'FAILED'")["error"].iloc[0].strip().splitlines()[-1]
    assert re.findall(r"^  (\d+) x (\w+): ", output, re.MULTILINE) == [(str(n_failed), last.split(":")[0])]
    assert output.count("Traceback (most recent call last)") == 1
    assert f"`raysearch resume {run_dir} --retry-failed`" in output


def test_errors_are_listed_by_kind_and_told_apart(capsys):
    errors = [
        "Trace\nValueError: seed 12 of 3857563192f8 [red]",
        "Trace\nValueError: seed 7 of ca8a9f30b7fd [red]",
        "OSError: x",
    ]
    print_failures(Console(width=200), errors, "runs/x")
    output = capsys.readouterr().out
    assert "  2 x ValueError: seed 12 of 3857563192f8 [red]\n  1 x OSError: x\n" in output
    assert "The last one:\n  OSError: x\n" in output


ODD = "a[b]:smile:[/b][red]"
"""Text of a user that Rich would take for markup and an emoji."""


def test_what_rich_takes_for_markup_is_shown_as_it_is(file, tmp_path):
    run_dir = tmp_path / "y" / ODD
    for words in (["run", file, "--run-dir", run_dir, "--set", "workload.fail=0.3", "--set", "race.retries=0"],
                  ["status", run_dir], ["status", run_dir, "--follow"], ["resume", run_dir, "--retry-failed"],
                  ["report", run_dir], ["report", run_dir, "--out", tmp_path / f"{ODD}.html"]):  # fmt: skip
        result = call(*words)
        assert result.exit_code == 0, (words, result.output, result.exception)
        assert ODD in result.output, words
    unfinished = tmp_path / f"{ODD}2"
    unfinished.mkdir()
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (unfinished / "journal.jsonl").write_bytes(b"".join(lines[:6]))
    assert f"no driver runs: `raysearch resume {unfinished}` goes on" in call("status", unfinished).output


@pytest.mark.parametrize("arguments", [["status", ODD], ["plan", ODD], [ODD], ["list", ODD]])
def test_a_mistake_of_odd_text_is_told_as_it_is(arguments):
    done = typed(*arguments)
    assert done.returncode == 2
    assert ODD in done.stderr
    assert "Traceback" not in done.stderr


def test_every_view_of_a_verdict_shows_a_users_text_as_it_is(capsys):
    winner, scores = Configuration.of({"act": ODD}), Summary(3, *[0.5] * 7)
    point = ParetoPoint(winner.id, (0.5,), 3)
    verdict = Verdict(
        winner,
        f"q3 of {ODD}",
        scores,
        2,
        6,
        100,
        scores,
        0.5,
        False,
        0.9,
        0.1,
        (winner.id, ODD),
        ODD,
        0,
        (ODD,),
        (point,),
        ODD,
    )
    console = Console(width=400)
    print_verdict(console, verdict, (0.4, 0.6))
    output = capsys.readouterr().out
    assert f"act = {ODD}\n" in output
    assert output.count(ODD) == 7, output
    progress = Progress(1, 2, 2, 3, 0, 6, winner, 0.5, criterion=f"q3 of {ODD}")
    print_status(console, ODD, progress, ended=False)
    assert capsys.readouterr().out.count(ODD) == 2
    print_plan(console, "x", Plan(6, (6, 6), 300, None, 6), f"mine({ODD})")
    assert f"instances by mine({ODD})" in capsys.readouterr().out
    print_where_next(console, Path(ODD), ODD)
    assert capsys.readouterr().out.count(ODD) == 3
    console.print(render(progress, ODD, [ODD]))
    assert capsys.readouterr().out.count(ODD) == 4


def test_what_failed_is_not_called_diverged():
    assert [number(value) for value in (math.inf, 0.5, math.nan, None)] == ["+inf", "0.5", "-", "-"]


def test_retry_failed_says_how_many_it_takes_back(failing, finished, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(failing[0], run_dir)
    output = call("resume", run_dir, "--retry-failed").output
    assert f"{failing[2]} instances that failed for good: taken back" in output
    assert "No instance had failed for good" in call("resume", finished[0], "--retry-failed").output


@pytest.fixture
def unfinished(finished, tmp_path):
    """The directory of a search whose driver died after half of its events, an hour between it and its resume."""
    events = list(read(finished[0] / "journal.jsonl"))
    asked = [position for position, event in enumerate(events) if event["event"] == "tell"]
    first = [{**event, "t": 1000.0 + n} for n, event in enumerate(events[: asked[5] + 1])]
    begin = first[-1]["t"] + 3600
    more = [{"event": "resume", "experiment": events[0]["experiment"], "t": begin}]
    more += [{**event, "t": begin + 1 + n} for n, event in enumerate(events[asked[5] + 1 : asked[9] + 1])]
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in [*first, *more]))
    return tmp_path, len(first) - 1 + len(more) - 1


@pytest.mark.process
def test_status_of_a_search_that_nobody_carries_on_says_so_and_does_not_follow_for_ever(unfinished):
    run_dir, _ = unfinished
    for more in [], ["--follow"]:
        done = shell("status", run_dir, *more)
        assert done.returncode == 0, done.stderr
        assert f"no driver runs: `raysearch resume {run_dir}` goes on" in done.stdout
    assert [path.name for path in run_dir.iterdir()] == ["journal.jsonl"]


def test_status_while_a_driver_runs_does_not_speak_of_resume(unfinished):
    with Journal(unfinished[0] / "journal.jsonl"):
        assert read_status(unfinished[0]).driven is True
        assert "no driver runs" not in call("status", unfinished[0]).output
    assert read_status(unfinished[0]).driven is False


def test_no_driver_is_refused_because_of_those_who_look(unfinished, start, monkeypatch):
    """Others look without pause while drivers come and go; 4 % of them were refused."""
    path = unfinished[0] / "journal.jsonl"
    program = f"""
from pathlib import Path
from raysearch.storage.journal import is_driven
print("looks", flush=True)
while True:
    is_driven(Path({str(path)!r}))
"""
    watchers = [start(sys.executable, "-c", program) for _ in range(2)]
    assert [watcher.stdout.readline() for watcher in watchers] == ["looks\n"] * 2
    for _ in range(2000):
        Journal(path).close()
    # a second driver is refused without any wait
    monkeypatch.setattr("raysearch.storage.journal._READERS_S", math.inf)
    with Journal(path), pytest.raises(JournalError, match="another raysearch driver runs"):
        Journal(path)


def follow(start, run_dir, **options):
    """Follow a search in a process of its own, which has looked once when this returns."""
    watcher = start(*command("status", run_dir, "--follow", "--every-s", "0.1"), **options)
    assert "raysearch" in watcher.stdout.readline()  # the title
    return watcher


def test_follow_shows_what_the_driver_does_and_ends_when_it_does(unfinished, finished, start):
    journal = unfinished[0] / "journal.jsonl"
    lines = (finished[0] / "journal.jsonl").read_text().splitlines(keepends=True)
    n_there = sum('"event": "resume"' not in line for line in journal.read_text().splitlines())
    with Journal(journal):
        watcher = follow(start, unfinished[0])
        last = max(number for number, line in enumerate(lines) if '"event":"tell"' in line)
        with open(journal, "a") as file:
            file.writelines(lines[n_there:last])
        assert "confirmation of" in watcher.stdout.readline()
    output, _ = watcher.communicate()
    assert "no driver runs" in output


def test_the_time_between_two_drivers_does_not_count(unfinished):
    run_dir, seconds = unfinished
    assert read_status(run_dir).progress.elapsed_s == seconds


def test_status_in_the_first_wave_expects_those_of_all_waves(file, tmp_path):
    sampler = {"name": "tpe", "n_configurations": 12, "wave": 4}
    space = {"level": {"low": 0.1, "high": 0.3}, "spread": [0.01]}
    result = call("run", file, "--run-dir", tmp_path / "a", "--set", f"sampler={sampler}", "--set", f"space={space}")
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "a" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "journal.jsonl").write_bytes(b"".join(lines[:6]))
    total, now = read_status(tmp_path / "a").progress, read_status(tmp_path / "b").progress
    assert total.n_expected == total.n_finished == len(raysearch.load(tmp_path / "a"))
    assert now.n_configurations == 4
    assert now.n_expected == pytest.approx(total.n_finished, rel=0.1)


def test_a_torn_line_is_warned_of_once_however_often_status_looks(unfinished, start):
    with Journal(unfinished[0] / "journal.jsonl"):
        with open(unfinished[0] / "journal.jsonl", "a") as file:
            file.write('{"event": "te')
        watcher = follow(start, unfinished[0])
    output, errors = watcher.communicate()
    assert "no driver runs" in output, "it looked again, as this is seen by looking"
    assert errors.count("is torn and left out") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_ended_status_does_not_speak_of_searches_that_had_not_begun(unfinished, start, number, code):
    with Journal(unfinished[0] / "journal.jsonl"):
        watcher = follow(start, unfinished[0])
        watcher.send_signal(number)
        _, errors = watcher.communicate()
    assert watcher.returncode == code
    assert "begun" not in errors
    assert "Traceback" not in errors
