"""The background writer: order, patience with a silent server, and counting what is lost."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from raysearch.tracking._writer import Writer, in_short


class Server:
    """Answers or not, and takes what it is given while it does."""

    def __init__(self) -> None:
        self.up, self.taken = threading.Event(), []
        self.up.set()

    def alive(self) -> bool:
        if not self.up.is_set():
            raise ConnectionError("refused")
        return True

    def take(self, item: int) -> None:
        self.alive()
        if item < 0:
            raise ValueError(f"{item} is negative")
        self.taken.append(item)


def test_calls_are_carried_out_in_order_and_put_returns_at_once() -> None:
    server, gate = Server(), threading.Event()
    writer = Writer(server.alive, patience_s=5)
    writer.put(gate.wait)
    start = time.monotonic()
    for item in range(1000):
        writer.put(server.take, item)
    assert time.monotonic() - start < 0.5
    assert writer.backlog >= 1000
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
        time.sleep(0.7)
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
    writer = Writer(server.alive, patience_s=1, hint="Do this.")
    for item in range(7):
        writer.put(server.take, item)
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "raysearch.tracking"):
        writer.close()
    assert time.monotonic() - start < 4
    assert writer.n_lost == 7
    assert "7 records could not be written" in caplog.text
    assert "Do this." in caplog.text


def test_close_leaves_a_hanging_request_behind() -> None:
    server, never = Server(), threading.Event()
    server.up.clear()
    writer = Writer(server.alive, patience_s=0.3)
    writer.put(server.take, 1)
    time.sleep(0.3)
    server.alive = lambda: never.wait(30)  # type: ignore[method-assign]
    writer._alive = server.alive
    start = time.monotonic()
    writer.put(server.take, 2)
    writer.close()
    assert time.monotonic() - start < 5
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


def test_thousands_of_refused_records_do_not_keep_the_end_waiting() -> None:
    server = Server()
    writer = Writer(server.alive, patience_s=5)
    for _ in range(5000):
        writer.put(server.take, -1)
    writer.put(server.take, 1)
    start = time.monotonic()
    writer.close()
    assert time.monotonic() - start < 60, "1.5 s for each would be two hours"
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
