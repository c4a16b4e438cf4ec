"""Damaged journals and experiment files: success or a clear error of raysearch's own, never anything else."""

import contextlib
import copy
import json
import logging
import shutil

import fuzz
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

import raysearch
from raysearch.driver import finish as ending
from raysearch.driver import status
from raysearch.driver.resume import resume
from raysearch.driver.run import build, run
from raysearch.errors import RaysearchError
from raysearch.experiment.experiment import from_data, from_file
from raysearch.records import PackGain
from raysearch.storage.decoding import EVENTS, entries
from raysearch.storage.events import Halt, Measured, Packs, Pause, Separate
from raysearch.storage.instances import write_parquet
from raysearch.storage.journal import Journal, read
from raysearch.storage.measurements import read_measured, to_table
from raysearch.storage.requests import Request, ask

SEARCH = {
    **fuzz.SEARCH,
    "space": {**fuzz.SEARCH["space"], "spread": {"low": 0.01, "high": 0.03, "step": 0.02}},
    "sampler": {"name": "random", "n_configurations": 4},
}

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(fuzz.ODD_NUMBERS),
    st.sampled_from(fuzz.ODD_TEXTS),
    st.lists(st.integers(-1, 1), max_size=2),
    st.dictionaries(st.sampled_from(["name", "low", "x"]), st.integers(0, 2), max_size=2),
)
moves = st.lists(st.integers(0, 10**6), min_size=1, max_size=12)


def damaged_value(value, path, odd_value):
    """Return a copy of plain data with one value in it, found along `path`, replaced, removed or doubled."""
    whole = copy.deepcopy(value)
    here = whole
    for step in path:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return whole
        key = keys[step % len(keys)]
        if isinstance(here[key], dict | list) and here[key] and step % 5:
            here = here[key]
            continue
        match step % 4:
            case 0 if isinstance(here, dict):
                del here[key]
            case 1 if isinstance(here, dict) and isinstance(odd_value, str):
                here[odd_value] = here.pop(key)
            case _:
                here[key] = odd_value
        return whole
    return whole


def damaged_bytes(data, places):
    """Return bytes cut, flipped or doubled at some places."""
    data = bytearray(data)
    for place in places:
        at = place % max(len(data), 1)
        match place % 3:
            case 0:
                del data[at : at + place % 7 + 1]
            case 1:
                data[at:at] = data[at : at + place % 11]
            case _:
                data[at : at + 1] = bytes([place % 256])
    return bytes(data)


@contextlib.contextmanager
def only_clear_errors():
    """Let errors that raysearch raises on purpose pass, and no others."""
    with contextlib.suppress(RaysearchError):
        yield


# ---- experiment files


@settings(max_examples=250)
@given(moves, odd)
def test_an_experiment_with_one_odd_value(path, odd_value):
    with only_clear_errors():
        build(from_data(damaged_value(SEARCH, path, odd_value)))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "e.yaml"


@settings(max_examples=250)
@given(places=moves)
def test_an_experiment_file_with_damaged_bytes(file, places):
    file.write_bytes(damaged_bytes(yaml.safe_dump(SEARCH, sort_keys=False).encode(), places))
    with only_clear_errors():
        build(from_file(file))


@settings(max_examples=150)
@given(text=st.text(st.sampled_from(fuzz.TEXT), max_size=30))
@example(text="!!int ''")
@example(text="!!bool maybe")
@example(text="!!timestamp x")
@example(text="!!float x")
@example(text="!!binary x")
@example(text="? {a: 1}\n: 2")
@example(text="{[1]: 2}")
@example(text="&a [*a]")
@example(text="<<: 1")
@example(text="2020-99-99")
def test_any_text_as_an_experiment_file_and_as_a_setting(file, text):
    file.write_text(text, encoding="utf-8")
    with only_clear_errors():
        from_file(file)
    file.write_text(yaml.safe_dump(SEARCH), encoding="utf-8")
    with only_clear_errors():
        from_file(file, [text, f"seed={text}", f"space.level={text}", f"{text}=1"])


# ---- journals


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The run directory of a whole search in which everything happened that may be in a journal."""
    folder = tmp_path_factory.mktemp("fuzz")
    run_dir = folder / "run"
    (folder / "marks").mkdir()
    flaky = {**SEARCH["workload"], "epochs": 4, "fail": 0.3, "fail_once_in": str(folder / "marks")}
    race = {"confirm": 2, "retries": 0, "screen": {"rule": "median", "n_startup": 2}}
    sampler = {"name": "random", "n_configurations": 6}
    one = {"workload": flaky, "sampler": {"name": "random", "n_configurations": 1}, "race": {"confirm": 0}}
    run(from_data({**SEARCH, **one}), folder / "earlier")
    taught = {"workload": flaky, "sampler": sampler, "race": race, "learn_from": [str(folder / "earlier")]}
    first = run(from_data({**SEARCH, **taught}), run_dir)
    resume(run_dir, {"race.retries": 1}, retry_failed=True)
    # the driver dies with an instance of the winner in flight, and the next one decides by another rule
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines(keepends=True)
    last_ask = max(number for number, line in enumerate(lines) if json.loads(line)["event"] == "ask")
    (run_dir / "journal.jsonl").write_bytes(b"".join(lines[: last_ask + 1]))
    shutil.rmtree(folder / "marks")  # fails once again
    (folder / "marks").mkdir()
    worst = max(first.instances.configuration_id.unique(), key=lambda id_: id_ != first.verdict.winner.id)
    ask(run_dir, Request("drop", configuration_id=worst, reason="a hunch", by="ada"))
    resume(run_dir, {"race.confirm": 3, "rule.warmup": 3})
    rule = {"name": "top_two", "window": 4, "certify": 2, "cap": 5}
    found = resume(run_dir, {"rule": rule, "race.finalists": 2})
    seed = int(found.instances.seed.iloc[0])
    row = {"layer": "0", "share": 0.5, "n": 3, "kept": True}
    with Journal(run_dir / "journal.jsonl") as journal:
        for id_, of in ((first.verdict.winner.id, seed), (found.verdict.winner.id, None)):
            numbers = {"trace": 1.5, "share.0": float("inf")}
            journal.append(Measured("curvature", id_, of, numbers, {"layers": [row, row]}, 1 if of else 3))
        best, other = (one.configuration_id for one in found.verdict.finalists)
        for remark in (Separate(other, 3, best, 0.01), Pause(True, "ada"), Pause(False, "ada"), Halt(True, "ada")):
            journal.append(remark)
        journal.append(Measured("calibration", found.verdict.winner.id, None, {}, error="no weights"))
        journal.append(Packs(found.verdict.winner.id, PackGain(64, 4e-4, 4e-5), "n1"))
    assert {event["event"] for event in read(run_dir / "journal.jsonl")} == EVENTS
    return run_dir


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "instances.parquet").unlink()
    return tmp_path / "run"


def look_at(run_dir):
    """Do everything that reads a journal without training."""
    with only_clear_errors():
        status.read_status(run_dir).print(Console(quiet=True))
    with only_clear_errors():
        raysearch.load(run_dir)
    with only_clear_errors():
        write_parquet(to_table(read_measured(entries(read(run_dir / "journal.jsonl")))), run_dir / "measures.parquet")
    with only_clear_errors():
        race, _, _ = status.race_of(run_dir)
        ending.rounds(race.state, race.criterion)


# the function-scoped directory is overwritten by every example
per_example = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(per_example, max_examples=80)
@given(number=st.integers(0, 10**6), path=moves, odd_value=odd)
def test_a_journal_with_one_odd_value(copied, finished, number, path, odd_value):
    lines = (finished / "journal.jsonl").read_text().splitlines()
    at = number % len(lines)
    lines[at] = json.dumps(damaged_value(json.loads(lines[at]), path, odd_value))
    (copied / "journal.jsonl").write_text("\n".join(lines) + "\n")
    look_at(copied)


@settings(per_example, max_examples=40)
@given(places=moves)
def test_a_journal_with_damaged_bytes(copied, finished, places):
    (copied / "journal.jsonl").write_bytes(damaged_bytes((finished / "journal.jsonl").read_bytes(), places))
    look_at(copied)


@settings(per_example, max_examples=40)
@given(order=moves)
def test_a_journal_with_lines_missing_doubled_or_out_of_order(copied, finished, order):
    lines = (finished / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for step in order:
        line = lines.pop(step % len(lines))
        lines[step // 7 % (len(lines) + 1) : 0] = [line] * (step % 3)
    (copied / "journal.jsonl").write_bytes(b"".join(lines))
    look_at(copied)


@settings(per_example, max_examples=25)
@given(number=st.integers(0, 10**6), path=moves, odd_value=odd, cut=st.integers(0, 10**6))
def test_a_damaged_journal_is_resumed_or_refused(copied, finished, number, path, odd_value, cut):
    lines = (finished / "journal.jsonl").read_text().splitlines()
    lines = lines[: cut % len(lines) + 1]
    at = number % len(lines)
    lines[at] = json.dumps(damaged_value(json.loads(lines[at]), path, odd_value))
    (copied / "journal.jsonl").write_text("\n".join(lines) + "\n")
    with only_clear_errors():
        resume(copied)


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.WARNING)  # torn lines, as they should be
    yield
    logging.disable(logging.NOTSET)
