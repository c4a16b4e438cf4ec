"""Serve the live page: on its own, or beside a search that this process carries out."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from raysearch.analysis.live_runs import Overview
from raysearch.driver.replayed import race_to_replay
from raysearch.errors import RaysearchError
from raysearch.experiment.experiment import from_data
from raysearch.race.race import Race
from raysearch.records import Progress
from raysearch.storage.run_directory import RunDirectory
from raysearch.tracking import Tracker
from raysearch.tracking.abilities import Writes
from raysearch.tracking.silent import Silent

PORT, N_PORTS = 8420, 20
RUNS = Path("runs")
"""Where searches are, below the working directory, unless they were told to be elsewhere."""
TOKEN = "RAYSEARCH_WATCH_TOKEN"
"""Environment variable with a token of one's own."""

_LAST_VIEW_S = 1.0
"""For how long a page outlives its search, so that browsers get the end of it."""


def watch(
    run_dir: Path | None,
    *,
    root: Path = RUNS,
    host: str = "127.0.0.1",
    port: int | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page of the search in `run_dir`, or of all below `root`, until the process is told to end.

    On another `host` than this machine's own a token is demanded: that of the environment, or a new one, which the
    address that is said holds. Raises RunDirectoryError where there is no such search, RaysearchError where the address
    cannot be had.
    """
    if run_dir is not None:
        RunDirectory.open(run_dir)
    local = host in ("127.0.0.1", "localhost", "::1")
    token = os.environ.get(TOKEN) or (None if local else secrets.token_urlsafe(24))
    with listening(host, port) as sock:
        shown = host if local else socket.gethostname() if host in ("0.0.0.0", "::") else host
        say(f"Watch it at {address(shown, sock, token)}")
        serve(sock, run_dir, root, token)


def address(host: str, sock: socket.socket, token: str | None) -> str:
    """Return the address of the page on a socket."""
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{sock.getsockname()[1]}/" + (f"?token={token}" if token else "")


@contextlib.contextmanager
def listening(host: str, port: int | None) -> Any:
    """Listen on a port, the first free one of those of raysearch unless one is named; raises RaysearchError."""
    candidates = [*range(PORT, PORT + N_PORTS), 0] if port is None else [port]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in candidates:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, candidate))
            sock.listen(128)
        except (OSError, OverflowError) as error:
            sock.close()
            if candidate == candidates[-1]:
                raise RaysearchError(
                    f"cannot listen on {host}, port {candidate}: {error}. Name another by `--port`"
                ) from error
            continue
        with sock:
            yield sock
        return


def serve(
    sock: socket.socket,
    run_dir: Path | None,
    root: Path,
    token: str | None,
    more: Callable[[], dict[str, Any]] | None = None,
) -> None:
    """Serve on a listening socket until the process is told to end; `more` is what the head of the page says too."""
    import uvicorn

    from raysearch.analysis.live_server import Pages

    pages = Pages(race_of, None if run_dir is None else run_dir.absolute(), root.absolute(), more or dict)
    app = pages.app(token, f"raysearch-{sock.getsockname()[1]}")

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            pages.ending = True
            super().handle_exit(sig, frame)

    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=2)
    with contextlib.suppress(KeyboardInterrupt):  # it was told to end
        Server(config).run([sock])


def race_of(data: Mapping[str, Any]) -> Race:
    """Return the race of an experiment as plain data, for its journal to be replayed into."""
    return race_to_replay(from_data(data))


def overview(root: Path = RUNS) -> list[dict[str, Any]]:
    """Return how every search below `root` stands, the youngest first."""
    found = Overview(root, race_of)
    for _ in found.read():
        pass
    return found.rows


class Page(Silent):
    """Serves the page of a search in a process of its own while the search runs: it never takes the race's time.

    The process ends when this one does, however that ends. `say` gets the address.
    """

    def __init__(self, say: Callable[[str], None], port: int | None = None) -> None:
        self._say, self._port = say, port
        self._process: subprocess.Popen[str] | None = None
        self._tracker: Tracker | None = None

    def beside(self, tracker: Tracker) -> None:
        """Tell on the page how far `tracker` is behind."""
        self._tracker = tracker

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        """Start it; raises RaysearchError where no port can be had."""
        with listening("127.0.0.1", self._port) as sock:
            token = os.environ.get(TOKEN)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "raysearch.driver.watch", str(run_dir), str(sock.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[sock.fileno()],
                text=True,
                start_new_session=True,  # Ctrl-C is for the search: the page ends after it
            )
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)
            self._say(f"Watch it at {address('127.0.0.1', sock, token)}")

    def progress(self, progress: Progress) -> None:
        """Pass on how far the tracker is behind."""
        if self._process is not None and self._process.stdin is not None and isinstance(self._tracker, Writes):
            with contextlib.suppress(OSError, ValueError):  # full, or gone: the race goes on
                os.write(self._process.stdin.fileno(), f"{self._tracker.backlog}\n".encode())

    def close(self) -> None:
        """End it."""
        if self._process is None:
            return
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _beside_a_driver() -> None:
    """Serve for a driver: it tells on standard input how far its tracker is behind, and its end is ours."""
    run_dir, fd = Path(sys.argv[1]), int(sys.argv[2])
    known: dict[str, Any] = {}

    def hear() -> None:
        for line in sys.stdin:
            known["behind"] = int(line)
        time.sleep(_LAST_VIEW_S)
        os._exit(0)

    threading.Thread(target=hear, daemon=True).start()
    serve(socket.socket(fileno=fd), run_dir, RUNS, os.environ.get(TOKEN), lambda: dict(known))


if __name__ == "__main__":
    _beside_a_driver()
