"""The server of the live page, as browsers, scripts and strangers meet it."""

import http.client
import itertools
import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from typing import ClassVar

import numpy as np
import pytest
from command_line import call, command, write_search
from races import drive, make_race, once
from waiting import wait_for

from raysearch.driver import watch
from raysearch.errors import RaysearchError
from raysearch.experiment.experiment import from_file
from raysearch.records import Configuration, InstanceResult, TrialRequest
from raysearch.storage import events as e
from raysearch.storage.journal import Journal

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder `runs` with one finished search."""
    root = tmp_path_factory.mktemp("watched")
    result = call("run", write_search(root), "--run-dir", root / "runs" / "tiny-1")
    assert result.exit_code == 0, result.output
    return root / "runs"


@pytest.fixture
def serving(start):
    """Start `raysearch watch` with these words and return its address, or all that it printed."""

    def begin(*words, whole=False, **options):
        process = start(*command("watch", *words), **options)
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        return (found[0], process) if whole else found[0]

    return begin


def get(address, path="", **headers):
    """Return status, headers and text of an answer, be it a refusal."""
    url = urllib.request.Request(address.rstrip("/") + "/" + path, headers=headers)
    opener = urllib.request.build_opener(_Stays())
    try:
        answer = opener.open(url, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read().decode()


class _Stays(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None


@pytest.fixture(autouse=True)
def streams_end():
    yield
    while Stream.opened:
        Stream.opened.pop().close()


class Stream:
    """The events of a page, as a browser hears them."""

    opened: ClassVar[list] = []

    def __init__(self, address, path="events"):
        host = re.match(r"http://([^/]+)/", address)[1]
        self._connection = http.client.HTTPConnection(host, timeout=60)
        self._connection.request("GET", f"/{path}")
        self._answer = self._connection.getresponse()
        self.opened.append(self)
        assert self._answer.status == 200
        assert self._answer.headers["content-type"].startswith("text/event-stream")
        self.known, self.mark = {}, None

    def next(self):
        """Return what has changed; signs of life are passed over."""
        end = time.monotonic() + 60
        while True:
            assert time.monotonic() < end, f"nothing has changed for a minute: {self.known.get('head')}"
            line = self._answer.readline().decode().rstrip("\n")
            if line.startswith("id: "):
                self.mark = line[4:]
            if line.startswith("data: "):
                news = json.loads(line[6:])
                self.known |= news
                return news

    def close(self):
        self._answer.close()
        self._connection.close()


def test_the_page_of_a_finished_search_holds_its_result_at_once(serving, runs):
    address = serving(runs / "tiny-1")
    status, headers, text = get(address)
    assert status == 200
    assert "script-src 'sha256-" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text), "no outside links"
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["head"]["state"] == "finished"
    assert data["table"]["rows"][0]["status"] == "winner"
    status, headers, text = get(address, "report.html")
    assert status == 200
    assert "raysearch report" in text


def test_a_foreign_name_is_refused(serving, runs):
    address = serving(runs / "tiny-1")
    hosts = ["evil.example", "evil.example:8420", "127.0.0.1.evil.example", "192.168.0.1", ""]
    for host, path in itertools.product(hosts, ("", "events", "report.html", "nothing")):
        status, _, text = get(address, path, Host=host)
        assert status == 403, (host, path)
        assert "127.0.0.1 and localhost only" in text
        assert "tiny" not in text


def test_two_names_are_refused_and_those_of_this_machine_are_not(serving, runs):
    address = serving(runs / "tiny-1")
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8420"):
        assert get(address, Host=host)[0] == 200, host
    name, port = re.match(r"http://([^:/]+):(\d+)/", address).groups()
    with socket.create_connection((name, int(port)), timeout=60) as own:
        own.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert own.recv(100).startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))


def test_nothing_can_be_written(serving, runs):
    address = serving(runs / "tiny-1")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        connection = http.client.HTTPConnection(re.match(r"http://([^/]+)/", address)[1], timeout=60)
        connection.request(method, "/", body=b"x")
        assert connection.getresponse().status == 405, method
        connection.close()


def test_elsewhere_a_token_is_demanded(serving, runs):
    address = serving(runs / "tiny-1", "--host", "0.0.0.0", env={**os.environ, watch.TOKEN: ""})
    token = re.search(r"\?token=([\w-]{20,})$", address)[1]
    local = re.sub(r"http://[^:]+:(\d+)/.*", r"http://127.0.0.1:\1/", address)
    for path in ("", "events", "report.html"):
        assert get(local, path)[0] == 401
        assert get(local, f"{path}?token=x{token}")[0] == 401
        assert get(local, path, Cookie="a=b; raysearch=; ;")[0] == 401
    status, headers, _ = get(local, f"?token={token}&since=1")
    assert status == 303
    assert headers["location"] == "/?since=1", "the token leaves the address"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert get(local, Cookie=cookie.partition(";")[0])[0] == 200
    assert get(local, Authorization=f"Bearer {token}")[0] == 200
    assert get(local, "/evil.example?token=" + token)[1]["location"] == "/evil.example", "no other host"


def test_all_searches_are_listed_and_each_has_its_page(serving, runs, tmp_path):
    address = serving("--runs", runs)
    stream = Stream(address)
    while not stream.known.get("runs", {}).get("whole"):
        stream.next()
    stream.close()
    (row,) = stream.known["runs"]["rows"]
    assert (row["run"], row["state"]) == ("tiny-1", "finished")
    assert get(address, "runs/tiny-1/")[0] == 200
    assert get(address, "runs/tiny-1/report.html")[0] == 200
    for path in ("runs/tiny-2/", "runs/../runs/", "runs/%2e%2e/", "runs/..%2f..%2fetc/", "runs/%00/", "report.html"):
        assert get(address, path)[0] == 404, path
    assert get(serving("--runs", tmp_path / "nowhere"))[0] == 200


def test_the_page_is_less_than_a_second_behind_the_journal(serving, tmp_path):
    file = write_search(tmp_path)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    data = from_file(file, []).model_dump(mode="json")
    losses = np.random.default_rng(0).normal(1, 0.1, (6, 40))
    with Journal(run_dir / "journal.jsonl") as journal:
        journal.append(e.Start(data))
        race = make_race(losses, rule=("halving", {"warmup": 3}), criterion="q3", journal=journal, confirm=4, seed=3)
        address = serving(run_dir)
        stream, late = Stream(address), []
        for _ in range(12):
            (train,) = (event for event in race.ask(1) if isinstance(event, TrialRequest))
            told = time.monotonic()
            race.tell(InstanceResult.of(train.keys[0], 1.0))
            n = race.state.counts["told"]
            while stream.known.get("now", {}).get("n_finished", 0) < n:
                stream.next()
            late.append(time.monotonic() - told)
        assert sorted(late)[6] <= 1.0, late
        assert stream.known["head"]["state"] == "running"
    # the lock is gone, as after a crash
    while stream.known["head"]["state"] != "broken off":
        stream.next()
    with Journal(run_dir / "journal.jsonl") as journal:
        race.journal = journal
        race.requeue_running()
        drive(race, losses)
    while stream.known["head"]["state"] != "finished":
        stream.next()
    mark = stream.mark
    stream.close()
    again = Stream(address, f"events?since={mark}")
    assert again._answer.readline() == b"retry: 1000\n"
    assert not any(again._answer.readline().startswith(b"data") for _ in range(2)), "nothing is sent twice"
    again.close()


def test_a_damaged_journal_is_said(serving, runs, tmp_path):
    (tmp_path / "journal.jsonl").write_bytes((runs / "tiny-1" / "journal.jsonl").read_bytes() + b"{}\n")
    stream = Stream(serving(tmp_path))
    while stream.known.get("head", {}).get("state") != "damaged":
        stream.next()
    stream.close()
    assert "line" in stream.known["head"]["error"]


def test_a_users_markup_stays_text(serving, tmp_path):
    nasty = "</script><script>alert(1)</script>"
    file = write_search(tmp_path)
    data = from_file(file, []).model_dump(mode="json") | {"seed": 0}
    pool = [Configuration.of({"tag": nasty, "x": x}) for x in range(3)]
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(e.Start(data))
        losses = np.ones((3, 40))
        race = make_race(losses, journal=journal, propose=once(pool), retries=0)
        drive(race, losses, fails=lambda key, attempt: key.seed % 3 == 0)
    _, _, text = get(serving(tmp_path))
    assert nasty not in text
    assert "alert(1)" in text


def test_two_servers_take_two_ports_and_a_taken_one_is_refused(serving, runs):
    first, second = serving(runs / "tiny-1"), serving(runs / "tiny-1")
    assert first != second
    port = int(re.search(r":(\d+)/", first)[1])
    said = rf"cannot listen on 127.0.0.1, port {port}.*--port"
    with pytest.raises(RaysearchError, match=said), watch.listening("127.0.0.1", port):
        pass
    result = call("watch", runs / "nothing")
    assert "no run directory" in str(result.exception)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told_to_although_a_page_is_open(serving, runs, how):
    address, process = serving(runs / "tiny-1", whole=True)
    stream = Stream(address)
    stream.next()
    process.send_signal(how)
    process.wait(60)
    assert "Traceback" not in process.stderr.read()
    stream.close()


def test_run_with_a_page_says_where_it_is_and_leaves_nothing(start, tmp_path):
    """The tracker's backlog is known there, and the page ends with the search: conftest looks for what is left."""
    file = write_search(tmp_path)
    process = start(
        *command("run", file, "--watch", "--run-dir", tmp_path / "run", "--set", "workload.seconds=0.3"), cwd=tmp_path
    )
    address = wait_for("an address", lambda: re.search(r"http://\S+", process.stdout.readline()), by=process)[0]
    stream = Stream(address)
    while not stream.known.get("now", {}).get("n_finished"):
        stream.next()
    assert stream.known["head"]["state"] == "running"
    while stream.known["head"]["state"] != "finished":
        stream.next()
    stream.close()
    assert process.wait(120) == 0


def test_a_killed_driver_takes_its_page_along(start, tmp_path):
    file = write_search(tmp_path)
    process = start(*command("run", file, "--watch", "--run-dir", tmp_path / "run", "--set", "workload.seconds=5"))
    address = wait_for("an address", lambda: re.search(r"http://\S+", process.stdout.readline()), by=process)[0]
    get(address)
    process.kill()
    port = int(re.search(r":(\d+)/", address)[1])
    wait_for("the end of the page", lambda: _closed(port))


def _closed(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
