"""A search is steered from another process: stopped, paused, gone on with, and rid of a configuration."""

import json
import os
import stat

import pytest
from command_line import call, command, write_search
from people import Person
from waiting import wait_for

import raysearch
from raysearch.driver.resume import resume
from raysearch.driver.run import run
from raysearch.driver.status import read_status
from raysearch.errors import RunDirectoryError, StoppedError
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import Journal, read
from raysearch.storage.requests import REQUESTS, Request, Requests, ask, forget

N_SLOTS = 2
SLOW = ("--set", "workload.seconds=0.4", "--set", "workload.epochs=4")
ON_RAY = ("--set", 'execution={"name":"ray_tune"}')
EXECUTORS = [
    pytest.param(("--set", "execution=local"), marks=pytest.mark.process, id="local"),
    pytest.param(ON_RAY, marks=pytest.mark.ray, id="ray"),
]
LONGER = [EXECUTORS[0], pytest.param(ON_RAY, marks=[pytest.mark.ray, pytest.mark.long], id="ray")]


def events(run_dir):
    return [line["event"] for line in read(run_dir / "journal.jsonl")]


def n_told(run_dir):
    return events(run_dir).count("tell")


def n_in_flight(run_dir):
    """How many instances run, or wait for a worker."""
    lines = list(read(run_dir / "journal.jsonl"))
    asked = sum(len(line["seeds"]) for line in lines if line["event"] == "ask")
    return asked - sum(line["event"] in ("tell", "stop", "lost") for line in lines)


@pytest.fixture
def begin(start, tmp_path, request):
    """Start a slow search and return its directory and process, once two instances have ended."""

    def begun(words):
        if "ray_tune" in words[-1]:
            request.getfixturevalue("ray_address")
        run_dir = tmp_path / "run"
        process = start(*command("run", write_search(tmp_path), "--run-dir", run_dir, *words, *SLOW))
        wait_for("two results", lambda: n_told(run_dir) >= 2, by=process)
        return run_dir, process

    return begun


@pytest.mark.parametrize("words", LONGER)
@pytest.mark.parametrize("now", [False, True])
def test_a_stopped_search_is_gone_on_with_to_the_same_end(begin, words, now):
    run_dir, process = begin(words)
    said = call("stop", run_dir, *(["--now"] if now else []))
    assert said.exit_code == 0, said.output
    assert "resume" in said.output
    assert call("stop", run_dir).exit_code == 0, "a second stop is no error"
    assert process.wait(120) == 3, process.stderr.read()
    assert "stopped, as asked" in process.stderr.read()
    ended = events(run_dir)
    assert ended.count("halt") == 1
    if not now:
        assert n_in_flight(run_dir) == 0, "what ran had its end"
    status = read_status(run_dir)
    assert status.verdict is None
    assert status.driven is False
    said = call("stop", run_dir)
    assert said.exit_code == 0
    assert "nothing to stop" in said.output
    done = call("resume", run_dir, "--set", "execution=local")
    assert done.exit_code == 0, done.output
    table = raysearch.load(run_dir)
    assert not table.duplicated(["configuration_id", "seed"]).any()
    assert read_status(run_dir).verdict is not None


@pytest.mark.parametrize("words", EXECUTORS)
def test_nothing_begins_in_a_paused_search(begin, words):
    run_dir, process = begin(words)
    assert call("pause", run_dir).exit_code == 0
    wait_for("the pause", lambda: "pause" in events(run_dir), by=process)

    wait_for("what ran to end", lambda: n_in_flight(run_dir) == 0, by=process)
    after = events(run_dir)
    since = after[after.index("pause") :]
    assert "ask" not in since
    assert since.count("tell") <= N_SLOTS, "what waited for a worker does not begin"
    assert process.poll() is None
    assert "paused: `raysearch resume" in " ".join(call("status", run_dir).output.split())
    assert "goes on" in call("resume", run_dir).output
    assert "in use" in str(call("resume", run_dir).exception), "it is not paused any more"
    wait_for("more", lambda: "ask" in events(run_dir)[len(after) :], by=process)
    assert call("stop", run_dir, "--now").exit_code == 0
    assert process.wait(120) == 3, process.stderr.read()


@pytest.mark.parametrize("words", EXECUTORS)
def test_a_dropped_configuration_is_out_and_everybody_says_so(begin, words):
    run_dir, process = begin(words)
    first = next(line for line in read(run_dir / "journal.jsonl") if line["event"] == "pool")["configurations"][1][0]
    said = call("drop", run_dir, first[:8], "--reason", "too slow")
    assert said.exit_code == 0, said.output
    wait_for("the drop", lambda: "drop" in events(run_dir), by=process)
    assert call("stop", run_dir, "--now").exit_code == 0
    process.wait(120)
    again = call("drop", run_dir, first)
    assert "is out already: dropped by a person: too slow" in str(again.exception)
    lines = list(read(run_dir / "journal.jsonl"))
    at = [line["event"] for line in lines].index("drop")
    assert not [line for line in lines[at:] if line["event"] in ("ask", "tell") and line["configuration"] == first]
    assert call("resume", run_dir, "--set", "execution=local", "--set", "rule.warmup=3").exit_code == 0
    shown = call("status", run_dir).output
    assert f"{first} was dropped by a person: too slow" in " ".join(shown.split())
    report = (run_dir / "report.html").read_text()
    assert "Dropped by people" in report
    assert "too slow" in report


@pytest.mark.process
def test_a_configuration_dropped_without_a_driver_is_out_when_one_goes_on(begin):
    run_dir, process = begin(("--set", "execution=local"))
    process.kill()
    process.wait()
    pool = next(line for line in read(run_dir / "journal.jsonl") if line["event"] == "pool")["configurations"]
    assert "as soon as" in call("drop", run_dir, pool[0][0]).output
    ask(run_dir, Request("stop"))  # was for the driver before
    assert "no driver runs" in str(call("pause", run_dir).exception)
    done = call("resume", run_dir)
    assert done.exit_code == 0, done.output
    assert events(run_dir).count("drop") == 1
    assert "halt" not in events(run_dir)


def test_what_cannot_be_dropped_is_said(tmp_path):
    from command_line import finish

    run_dir, _ = finish(write_search(tmp_path))
    assert "'zz' is no configuration of this search. In the race: " in str(call("drop", run_dir, "zz").exception)
    id_ = next(line for line in read(run_dir / "journal.jsonl") if line["event"] == "pool")["configurations"][0][0]
    assert "the race is over" in str(call("drop", run_dir, id_).exception)


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "journal.jsonl").touch()
    return tmp_path


def test_requests_are_read_once_and_whole(run_dir):
    requests = Requests(run_dir)
    assert requests.more() == []
    ask(run_dir, Request("drop", configuration_id="a" * 12, reason="é\n", by="ada"))
    assert stat.S_IMODE(os.stat(run_dir / REQUESTS).st_mode) == 0o600
    assert requests.more() == [Request("drop", configuration_id="a" * 12, reason="é\n", by="ada")]
    assert requests.more() == []
    with open(run_dir / REQUESTS, "ab") as file:
        file.write(b'{"kind":"st')
    assert requests.more() == []
    with open(run_dir / REQUESTS, "ab") as file:
        file.write(b'op"}\n{}\n{"kind":"rm"}\nnonsense\n{"kind":"stop","reason":3}\n')
    assert requests.more() == [Request("stop")]
    ask(run_dir, Request("pause"))
    (one,) = requests.more()
    assert one.by


def test_a_new_driver_hears_of_drops_only(run_dir):
    for kind in ("stop", "pause", "drop", "unpause"):
        ask(run_dir, Request(kind))
    Journal(run_dir / "journal.jsonl").close()
    assert [one.kind for one in Requests(run_dir).more()] == ["drop"]
    (run_dir / REQUESTS).unlink()
    forget(run_dir)


@pytest.mark.parametrize("how", ["open to others", "a link", "a folder", "somebody else's"])
def test_a_file_that_others_could_write_is_not_listened_to(run_dir, how, caplog):
    path, line = run_dir / REQUESTS, json.dumps({"kind": "stop"}) + "\n"
    if how == "open to others":
        path.write_text(line)
        path.chmod(0o622)
    elif how == "a link":
        (run_dir / "other").write_text(line)
        (run_dir / "other").chmod(0o600)
        path.symlink_to(run_dir / "other")
    elif how == "a folder":
        path.mkdir()
    else:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        path.write_text(line)
        path.chmod(0o600)
        os.chown(path, 12345, 12345)
    requests = Requests(run_dir)
    assert requests.more() == []
    assert requests.more() == []
    assert len(caplog.records) == 1, "it is said once"
    with pytest.raises(RunDirectoryError, match="emove it"):
        ask(run_dir, Request("stop"))
    forget(run_dir)


def test_only_the_owner_may_steer(run_dir):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(run_dir / "journal.jsonl", 12345, 12345)
    with pytest.raises(RunDirectoryError, match="only its owner may steer it"):
        ask(run_dir, Request("stop"))


PACKED = {
    "name": "packed",
    "workload": {"name": "digits", "epochs": 60, "n_train": 200},
    "space": {"hidden": [[8], [12]], "optimizer": ["AdamW"], "lr": [0.003, 0.01], "batch_size": [32]},
    "criterion": "median",
    "rule": {"name": "halving", "warmup": 2},
    "tracking": "silent",
}
PACKS = [
    pytest.param({"name": "local", "pack": 8}, id="local"),
    pytest.param({"name": "ray_tune", "pack": 8}, id="ray", marks=pytest.mark.ray),
]


@pytest.mark.parametrize("execution", PACKS)
def test_one_member_of_a_pack_is_dropped_and_the_others_train_on(execution, tmp_path, request):
    if execution["name"] == "ray_tune":
        request.getfixturevalue("ray_cluster")
    result = run(from_data({**PACKED, "execution": execution}), tmp_path, watchers=[Person("drop")])
    lines = list(read(tmp_path / "journal.jsonl"))
    (drop,) = (line for line in lines if line["event"] == "drop")
    after = lines[lines.index(drop) :]
    assert drop["configuration"] not in {line["configuration"] for line in after if line["event"] in ("ask", "tell")}
    assert not [line for line in lines if line["event"] in ("failure", "lost")], "nobody was trained again for it"
    assert result.verdict.winner.id != drop["configuration"]
    assert f"{drop['configuration']} was dropped by a person: too large (ada)" in result.verdict.note


@pytest.mark.parametrize(
    "execution", [PACKS[0], pytest.param(PACKS[1].values[0], id="ray", marks=[pytest.mark.ray, pytest.mark.long])]
)
def test_a_search_in_packs_is_stopped_at_once_and_gone_on_with(execution, tmp_path, request):
    if execution["name"] == "ray_tune":
        request.getfixturevalue("ray_cluster")
    experiment = from_data({**PACKED, "execution": execution})
    with pytest.raises(StoppedError, match=f"resume {tmp_path}"):
        run(experiment, tmp_path, watchers=[Person("stop", now=True)])
    assert events(tmp_path).count("halt") == 1
    assert "verdict" not in events(tmp_path)
    result = resume(tmp_path)
    assert not result.instances.duplicated(["configuration_id", "seed"]).any()
