"""Damaged answers of a tracking server, as fuzz.py damages journals: a retry, a record told as lost, or a clear error.

The answers are a real server's, recorded by `python tests/fuzz_mlflow.py` for a small search that is told twice: to a
fresh server, and to one that has it all. They come back in their order, by method and path, without any socket.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from raysearch import cli
from raysearch.driver import finish
from raysearch.driver.run import run
from raysearch.driver.sync import sync
from raysearch.errors import TrackingError
from raysearch.experiment.experiment import from_data
from raysearch.tracking.mlflow import Mlflow

FOLDER = Path(__file__).parent / "data" / "mlflow_answers"
URI = "http://127.0.0.1:9"
"""Where nobody listens: no answer comes but those recorded."""
PARTS = ("fresh", "again")
STATUSES = (200, 204, 301, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 504)
CUTS: tuple[Callable[[str], Exception], ...] = (
    requests.exceptions.ConnectionError,
    requests.exceptions.ReadTimeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
PAGES = (
    b"",
    b"<html>502 Bad Gateway</html>",
    b"null",
    b"[]",
    b"0",
    b'"ok"',
    b"\xff\xfe",
    b"{",
    b'{"run":',
    b"{" * 5000,
)
Answer = tuple[int, bytes]


def whole_search() -> dict[str, Any]:
    from fuzz import SEARCH

    small = {"workload": {"name": "synthetic", "epochs": 1}, "rule": {"name": "halving", "warmup": 1}}
    return {**SEARCH, **small, "race": {"confirm": 1}}


class Server:
    """Answers as recorded; from the request numbered `at` on, `n` of them are damaged."""

    def __init__(self, recorded: list[list[Any]], g: random.Random) -> None:
        self.left: dict[tuple[str, str], list[Answer]] = {}
        for method, path, status, text in recorded:
            self.left.setdefault((method, path), []).append((status, text.encode()))
        self.g, self.at = g, g.randrange(len(recorded))
        self.n = g.choice((1, 1, 1, 2, 3, 8, 1000))
        self.kind = g.randrange(5)
        self.n_asked = 0

    def send(self, adapter: Any, request: Any, **settings: Any) -> requests.Response:
        answers = self.left.get((request.method, urlsplit(request.url).path), [(404, b"{}")])
        status, content = answers[0] if len(answers) == 1 else answers.pop(0)
        self.n_asked += 1
        if self.at < self.n_asked <= self.at + self.n:
            status, content = self._damaged(status, content)
        return answered(request, status, content)

    def _damaged(self, status: int, content: bytes) -> Answer:
        from fuzz import damaged

        g = self.g
        if self.kind == 0:
            raise g.choice(CUTS)("[Errno 104] Connection reset by peer")
        if self.kind == 1:
            return g.choice(STATUSES), g.choice((content, *PAGES))
        if self.kind == 2:
            return status, g.choice((content[: g.randint(0, len(content))], *PAGES))
        try:
            data = json.loads(content)
            if self.kind == 3:  # a page after each page
                return status, json.dumps({**data, "next_page_token": "next"}).encode()
            return status, json.dumps(damaged(data, g)).encode()
        except (ValueError, TypeError):  # no JSON, or none of several values
            return status, g.choice(PAGES)


def answered(request: Any, status: int, content: bytes) -> requests.Response:
    response = requests.Response()
    response.status_code, response.raw, response.url = status, io.BytesIO(content), request.url
    response.request, response.headers["Content-Type"] = request, "application/json"
    response._content = content  # type: ignore[attr-defined] - as after its stream was read
    return response


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def stepped(self: Any, search: Any, hint: str) -> Any:
    """Return a writer whose pauses take no time."""
    from world.machine import Clock
    from world.store import Stepped

    from raysearch.tracking._mlflow_place import is_final

    return Stepped(search.runs.alive, self.timeout_s, hint, is_final, Clock())


def concluded(race: Any, experiment: Any, data: Any, directory: Any, workload: Any, tracker: Any) -> None:
    """Tell the end of a search, without its report, which takes a hundred times as long as all else."""
    finish.score(race, tracker)
    tracker.finished(finish.verdict_of(race, experiment), {"journal": directory.journal}, None)


class Answers:
    """Syncs one search with a server that answers badly, by the seed."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = folder / "synced"
        self.recorded = json.loads((FOLDER / "answers.json").read_text())
        self.run_dir.mkdir()
        shutil.copy(FOLDER / "journal.jsonl", self.run_dir / "journal.jsonl")

    def answer(self, g: random.Random) -> None:
        """Tell the search, in Python or by the command line; raises TrackingError where something is lost."""
        part = g.choice(PARTS)
        (self.run_dir / "mlflow.json").unlink(missing_ok=True)
        if part == "again":
            shutil.copy(FOLDER / "mlflow.json", self.run_dir / "mlflow.json")
        server = Server(self.recorded[part], g)

        def send(adapter: Any, request: Any, **settings: Any) -> requests.Response:
            return server.send(adapter, request, **settings)

        with (
            patched(HTTPAdapter, "send", send),
            patched(Mlflow, "_writer", stepped),
            patched(finish, "write", concluded),
        ):
            if g.random() < 0.8:
                sync(self.run_dir, {"tracking": {"name": "mlflow", "uri": URI}})
            elif command("sync", str(self.run_dir), "--set", f"tracking={{name: mlflow, uri: '{URI}'}}"):
                raise TrackingError("said on the command line")


def command(*arguments: str) -> int:
    """Return the exit code of a raysearch command: 0, or 2 with a line that says why; raises whatever else it does."""
    said, before = io.StringIO(), signal.getsignal(signal.SIGTERM)
    with patched(sys, "argv", ["raysearch", *arguments]), contextlib.redirect_stderr(said):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                cli.main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        finally:
            signal.signal(signal.SIGTERM, before)
    assert code in (0, 2), f"exit code {code}: {said.getvalue()[-500:]}"
    assert code == 0 or said.getvalue().strip(), f"exit code 2 and no word: {arguments}"
    assert "Traceback" not in said.getvalue(), said.getvalue()[-2000:]
    return int(code)


def record() -> None:
    """Record what a real server answers."""
    from mlflow_server import Server as Real

    heard: list[list[Any]] = []
    original = HTTPAdapter.send

    def send(adapter: Any, request: Any, **settings: Any) -> requests.Response:
        response = original(adapter, request, **settings)
        heard.append([request.method, urlsplit(request.url).path, response.status_code, response.text])
        return response

    with tempfile.TemporaryDirectory() as name:
        run_dir = Path(name) / "run"
        run(from_data(whole_search()), run_dir)
        server = Real(Path(name))
        found: dict[str, Any] = {}
        try:
            with (
                patched(HTTPAdapter, "send", send),
                patched(Mlflow, "_writer", stepped),
                patched(finish, "write", concluded),
            ):
                for part in PARTS:
                    heard.clear()
                    sync(run_dir, {"tracking": {"name": "mlflow", "uri": server.uri}})
                    found[part] = list(heard)
        finally:
            server.kill()
        FOLDER.mkdir(exist_ok=True)
        shutil.copy(run_dir / "journal.jsonl", FOLDER / "journal.jsonl")
        place = (run_dir / "mlflow.json").read_text().replace(server.uri, URI)
        (FOLDER / "mlflow.json").write_text(place)
        text = json.dumps(found, indent=0).replace(server.uri, URI)
        (FOLDER / "answers.json").write_text(text + "\n")
        print({part: len(answers) for part, answers in found.items()}, len(text))


if __name__ == "__main__":
    record()
