"""The background writer: order, patience with a silent server, and counting what is lost."""

from __future__ import annotations

import logging
import threading

import pytest
from waiting import wait_for

from raysearch.tracking import _writer
from raysearch.tracking._writer import Writer, in_short


class Server:
    """Answers or not, and takes what it is given while it does."""

    def __init__(self) -> None:
        self.up, self.taken, self.n_asked, self.n_tried = threading.Event(), [], 0, 0
        self.up.set()

    def alive(self) -> bool:
        self.n_asked += 1
        if not self.up.is_set():
            raise ConnectionError("refused")
        return True

    def take(self, item: int) -> None:
        self.n_tried += 1
        self.alive()
        if item < 0:
            raise ValueError(f"{item} is negative")
        self.taken.append(item)


def test_calls_are_carried_out_in_order_and_put_returns_at_once() -> None:
    server, gate = Server(), threading.Event()
    writer = Writer(server.alive, patience_s=5)
    writer.put(gate.wait)
    for item in range(1000):
        writer.put(server.take, item)
    assert writer.backlog >= 1000, "nothing is carried out before the gate is open"
    gate.set()
    writer.close()
    assert server.taken == list(range(1000))
    assert (writer.backlog, writer.n_lost) == (0, 0)


def test_a_server_that_comes_back_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    writer = Writer(server.alive, patience_s=20)
    server.up.clear()
    with caplog.at_level(logging.WARNING, "raysearch.tracking"):
        for item in range(20):
            writer.put(server.take, item)
        wait_for("a second attempt", lambda: server.n_tried == 2)
        assert writer.backlog == 20
        server.up.set()
        writer.close()
    assert server.taken == list(range(20))
    assert writer.n_lost == 0
    assert [record.message for record in caplog.records] == [
        "the tracker does not answer, the race goes on: refused"
    ], "said once, not once per record"


def test_close_gives_up_on_a_dead_server_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.up.clear()
    writer = Writer(server.alive, patience_s=0.2, hint="Do this.")
    for item in range(7):
        writer.put(server.take, item)
    with caplog.at_level(logging.WARNING, "raysearch.tracking"):
        writer.close()
    assert writer.n_lost == 7
    assert "7 records could not be written" in caplog.text
    assert "Do this." in caplog.text


def test_close_leaves_a_hanging_request_behind() -> None:
    server, never = Server(), threading.Event()
    server.up.clear()
    writer = Writer(server.alive, patience_s=0.3)
    writer.put(server.take, 1)
    wait_for("the server to be found silent", lambda: server.n_asked > 0)
    server.alive = never.wait  # type: ignore[method-assign]
    writer._alive = server.alive
    writer.put(server.take, 2)
    writer.close()  # would not return before `never` does
    assert writer.n_lost == 2
    never.set()


def test_a_refused_record_is_lost_and_the_rest_is_written() -> None:
    server = Server()
    writer = Writer(server.alive, patience_s=5)
    for item in (1, -1, 2):
        writer.put(server.take, item)
    writer.close()
    assert server.taken == [1, 2]
    assert writer.n_lost == 1


def test_what_no_repetition_would_mend_is_not_repeated() -> None:
    server, tried = Server(), []

    def call() -> None:
        tried.append(1)
        raise ValueError("a name with a colon")

    writer = Writer(server.alive, patience_s=5, final=lambda error: isinstance(error, ValueError))
    writer.put(call)
    writer.put(server.take, 1)
    writer.close()
    assert (tried, server.taken, writer.n_lost) == ([1], [1], 1)


def test_thousands_of_refused_records_do_not_keep_the_end_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "REFUSED_IN_A_ROW", 2)
    server = Server()
    writer = Writer(server.alive, patience_s=5)
    for _ in range(5000):
        writer.put(server.take, -1)
    writer.put(server.take, 1)
    writer.close()
    assert server.n_tried == 2 * _writer.ATTEMPTS_WHILE_ALIVE + 4998 + 1, "three attempts each would take two hours"
    assert (server.taken, writer.n_lost) == ([1], 5000)


def test_close_leaves_a_request_behind_that_hangs_on_a_server_never_heard_to_be_silent() -> None:
    never = threading.Event()
    writer = Writer(lambda: True, patience_s=0.05)
    writer.put(never.wait)
    writer.put(never.wait)
    writer.close()
    assert writer.n_lost == 2
    never.set()


def test_a_password_in_an_address_is_not_repeated() -> None:
    error = ConnectionError("GET http://me:secret@host:5000/api failed\nmore")
    assert in_short(error) == "GET http://host:5000/api failed"
    assert in_short(ValueError()) == "ValueError"


def test_a_network_error_is_told_by_its_cause() -> None:
    wrapped = "API request to http://a failed: Max retries (Caused by X('b', port=1): [Errno 111] Connection refused'))"
    assert in_short(ConnectionError(wrapped)) == "[Errno 111] Connection refused"


def test_a_full_queue_takes_no_more_and_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_writer, "MOST_WAITING", 10)
    server, gate = Server(), threading.Event()
    writer = Writer(server.alive, patience_s=5, hint="`raysearch sync` writes them.")
    writer.put(gate.wait)
    wait_for("the first call", lambda: writer._calls.qsize() == 0)
    for item in range(25):
        writer.put(server.take, item)
    assert writer.backlog == 11
    gate.set()
    wait_for("an empty queue", lambda: writer.backlog == 0)
    writer.put(server.take, 25)
    writer.close()
    assert server.taken == list(range(10)), "nothing follows that rests on what was left out"
    assert writer.n_lost == 16
    assert "10 records wait for the tracker: no more are taken. `raysearch sync` writes them." in caplog.text


def test_who_waits_for_room_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "MOST_WAITING", 10)
    server = Server()
    writer = Writer(server.alive, patience_s=5)
    for item in range(100):
        writer.put(server.take, item)
        writer.make_room()
    writer.close()
    assert server.taken == list(range(100))
    assert writer.n_lost == 0


def test_nobody_waits_for_room_at_a_server_that_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_writer, "MOST_WAITING", 2)
    server = Server()
    server.up.clear()
    writer = Writer(server.alive, patience_s=0.1)
    for item in range(5):
        writer.put(server.take, item)
        writer.make_room()
    writer.close()
    assert server.taken == []
    assert writer.n_lost == 5
