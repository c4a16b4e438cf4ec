"""The journal on a real disk: torn lines, damage, a second driver, a full disk, a killed writer."""

import dataclasses
import json
import logging
import math
import os
import resource
import signal
import subprocess
import sys
import time
from typing import get_args

import numpy as np
import pytest
from races import drive, image, make_race, once, outcome, pool_of, result_of, trials

from raysearch.errors import JournalError
from raysearch.race.state import State
from raysearch.rules import RuleVerdict
from raysearch.storage.decoding import EVENTS, entries
from raysearch.storage.encoding import _ENCODERS, encode
from raysearch.storage.events import REMARKS, Conclude, Event
from raysearch.storage.journal import VERSION, Journal, read

START = {"event": "start", "version": VERSION, "experiment": {"seed": 0}}
LOSSES = np.random.default_rng(0).normal(size=(5, 40))


def write(path, *events):
    with Journal(path) as journal:
        for event in events:
            journal.write(event)


def test_what_is_written_is_read_with_its_time(tmp_path):
    path = tmp_path / "journal.jsonl"
    before = time.time()
    write(path, START, {"event": "final", "text": 'line\nbreak, "quotes", \u00e9\u4e2d\ud800'})
    first, second = read(path)
    assert {key: value for key, value in first.items() if key != "t"} == START
    assert second["text"] == 'line\nbreak, "quotes", \u00e9\u4e2d\ud800'
    assert before - 0.01 <= first["t"] <= second["t"] <= time.time() + 0.01
    assert len(path.read_bytes().splitlines()) == 2


def test_every_line_is_on_disk_before_append_returns(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    with Journal(tmp_path / "journal.jsonl") as journal:
        monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_size), fsync(fd)))
        sizes = []
        for number in range(3):
            journal.write({"event": "final", "n": number})
            sizes.append(journal.path.stat().st_size)
    assert synced == sizes


def test_a_race_comes_back_from_the_file(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write(START)
        original = make_race(LOSSES, journal=journal, confirm=2)
        drive(original, LOSSES, n_workers=2)
    rebuilt = make_race(LOSSES, confirm=2)
    rebuilt.replay(entries(read(path)))
    assert image(rebuilt) == image(original)


def test_a_torn_last_line_is_cut_with_a_warning(tmp_path, caplog):
    path = tmp_path / "journal.jsonl"
    write(path, START, {"event": "final", "n": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":"tell","configur')
    with caplog.at_level(logging.WARNING):
        assert len(list(read(path))) == 2
        assert "line 3 is torn" in caplog.text
        write(path, {"event": "final", "n": 2})
    assert "cut off a torn last line of 25 bytes" in caplog.text
    assert [event.get("n") for event in read(path)] == [None, 1, 2]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"event": "tell", "confi', "line 2 is damaged"),
        (b"\xff\xfe\x00", "line 2 is damaged"),
        (b"", "line 2 is damaged"),
        (b'{"event": "final", "t": 1, "x": NaN}', "line 2 is damaged: NaN is no JSON"),
        (b"[" * 100_000, "line 2 is damaged"),
        (b"[1, 2]", "line 2 is no event"),
        (b'{"t": 1.0}', "line 2 is no event"),
        (b'{"event": "final"}', "line 2 is no event"),
        (b'{"event": "tlel", "t": 1}', "line 2 is damaged: unknown event 'tlel'. Did you mean 'tell'"),
    ],
)
def test_any_other_damage_names_the_line(tmp_path, line, message):
    path = tmp_path / "journal.jsonl"
    write(path, START, {"event": "final"}, {"event": "final"})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + line + b"\n" + lines[2])
    with pytest.raises(JournalError, match=message):
        list(read(path))


def test_every_event_that_may_be_in_a_journal_is_one_that_the_state_knows():
    handlers = {name.removeprefix("_on_") for name in vars(State) if name.startswith("_on_")}
    assert handlers == {kind.__name__.lower() for kind in get_args(Event) if kind not in REMARKS}
    assert set(_ENCODERS) == set(get_args(Event))
    assert {name for name, _ in _ENCODERS.values()} == EVENTS


def test_an_event_that_does_not_fit_names_its_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write(START)
        drive(make_race(LOSSES, journal=journal), LOSSES)
    events = list(read(path))
    told = [number for number, event in enumerate(events, start=1) if event["event"] == "tell"]
    twice = [*events[: told[0]], events[told[0] - 1], *events[told[0] :]]
    with pytest.raises(JournalError, match=f"line {told[0] + 1} of the journal: the event .*'tell'"):
        make_race(LOSSES).replay(entries(twice))
    broken = {name: value for name, value in events[told[1] - 1].items() if name != "loss"}
    race = make_race(LOSSES)
    damaged = entries([*events[: told[1] - 1], broken])
    with pytest.raises(JournalError, match=rf"line {told[1]} of the journal: the event .*KeyError\('loss'\)"):
        race.replay(damaged)


def test_another_version_or_another_file_is_refused(tmp_path):
    path = tmp_path / "journal.jsonl"
    for first in ({**START, "version": VERSION + 1}, {"event": "final"}):
        path.write_text(json.dumps({**first, "t": 1.0}) + "\n")
        with pytest.raises(JournalError, match=f"does not begin as a raysearch journal of version {VERSION}"):
            list(read(path))


def test_a_missing_journal_and_a_directory_in_its_place_are_clear_errors(tmp_path):
    with pytest.raises(JournalError, match=r"cannot read the journal .*No such file"):
        list(read(tmp_path / "none.jsonl"))
    with pytest.raises(JournalError, match=r"cannot write the journal .*Is a directory"):
        Journal(tmp_path)


@pytest.mark.process
def test_a_second_driver_in_another_process_is_refused(tmp_path):
    path = tmp_path / "journal.jsonl"
    program = f"from pathlib import Path; from raysearch.storage.journal import Journal; Journal(Path({str(path)!r}))"
    with Journal(path):
        second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert "is in use: another raysearch driver runs in this directory" in second.stderr
    third = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert third.returncode == 0, third.stderr


@pytest.mark.process
def test_the_lock_goes_with_a_killed_driver(tmp_path):
    path = tmp_path / "journal.jsonl"
    program = (
        "import sys, time; from pathlib import Path; from raysearch.storage.journal import Journal\n"
        f"journal = Journal(Path({str(path)!r})); print('open', flush=True); time.sleep(60)"
    )
    driver = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout.readline() == "open\n"
        with pytest.raises(JournalError, match=r"in use"):
            Journal(path)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait(timeout=30)
        driver.stdout.close()
    Journal(path).close()


def test_a_full_disk_loses_nothing_and_the_race_goes_on_afterwards(tmp_path):
    """A real limit on the file's size makes the write fail half way through a line, as a full disk does."""
    path = tmp_path / "journal.jsonl"
    undisturbed = make_race(LOSSES, confirm=2)
    drive(undisturbed, LOSSES)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path) as journal:
        journal.write(START)
        race = make_race(LOSSES, journal=journal, confirm=2)
        (block,) = trials(race)
        race.tell(result_of(race, block.keys[0], LOSSES))
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, hard))
        try:
            with pytest.raises(JournalError, match=r"cannot write the journal .*Nothing is lost: mend the disk"):
                drive(race, LOSSES)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.stat().st_size == size, "half a line was left behind"
    with Journal(path) as journal:
        events = list(read(path))
        race = make_race(LOSSES, journal=journal, confirm=2)
        race.replay(entries(events))
        race.requeue_running()
        drive(race, LOSSES)
    assert outcome(race) == outcome(undisturbed)


@pytest.mark.long
def test_a_journal_of_the_papers_race_is_replayed_in_seconds():
    """41,567 instances of 6,912 configurations, rebuilt in the time of a coffee sip."""
    from races import Memory

    losses = np.random.default_rng(1).normal(size=(6912, 120))
    journal, paper = Memory(), {"rule": ("halving", {"warmup": 5}), "propose": once(pool_of(6912)), "confirm": 100}
    drive(make_race(losses, journal=journal, **paper), losses, n_workers=64)
    assert sum(event["event"] == "tell" for event in journal.events) == 41_567
    rebuilt = make_race(losses, **paper)
    start = time.process_time()
    rebuilt.replay(journal.entries)
    assert time.process_time() - start < 10
    assert rebuilt.done


def test_a_verdict_without_a_number_for_its_confidence_can_be_written_and_read(tmp_path):
    (one,) = pool_of(1)
    verdict = RuleVerdict(one.id, (one.id,), math.nan, 0.01, False)
    write(tmp_path / "journal.jsonl", START, encode(Conclude(1, verdict)))
    _, back = entries(read(tmp_path / "journal.jsonl"))
    assert math.isnan(back.event.verdict.probability)
    assert dataclasses.replace(back.event.verdict, probability=None) == dataclasses.replace(verdict, probability=None)


def test_what_is_written_together_is_waited_for_once_and_is_there_at_its_end(tmp_path, monkeypatch):
    path, waits, fsync = tmp_path / "journal.jsonl", [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: waits.append(fsync(fd)))
    with Journal(path) as journal:
        journal.write(START)
        before = len(waits)
        with journal.together():
            for _ in range(3):
                journal.write({"event": "final"})
                with journal.together():
                    journal.write({"event": "final"})
            assert len(waits) == before
        assert len(waits) == before + 1
        with journal.together():
            pass
        with pytest.raises(KeyError):
            _break_off(journal)
        assert len(waits) == before + 2, "not for nothing, and whatever happens"
        journal.write({"event": "final"})
        assert len(waits) == before + 3
    assert len(list(read(path))) == 9


def test_what_cannot_be_brought_to_disk_together_is_not_there_at_all(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.write(START)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(5, "Input/output error")))
            with pytest.raises(JournalError, match="Input/output error"):
                _two_together(journal)
        assert len(list(read(path))) == 1
        journal.write({"event": "final"})
    assert len(list(read(path))) == 2


def _break_off(journal):
    with journal.together():
        journal.write({"event": "final"})
        raise KeyError


def _two_together(journal):
    with journal.together():
        journal.write({"event": "final"})
        journal.write({"event": "final"})


def test_results_that_come_together_are_on_disk_after_one_wait_before_any_counts(tmp_path, monkeypatch):
    path, waits, fsync = tmp_path / "journal.jsonl", [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: waits.append(fsync(fd)))
    with Journal(path) as journal:
        journal.write(START)
        race = make_race(LOSSES, journal=journal)
        asked = trials(race, 5)
        told = []
        race.listener = lambda event, time_s: told.append(
            (len(list(read(path))), race.state.counts["told"], len(waits))
        )
        before, written = len(waits), len(list(read(path)))
        race.tell(*(result_of(race, one.keys[0], LOSSES) for one in asked))
        assert told[:5] == [(written + 5, 5, before + 1)] * 5
