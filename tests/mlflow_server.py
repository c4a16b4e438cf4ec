"""A real `mlflow server` for tests: started on a free port of this machine, killed with all its processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from waiting import wait_for

HOST = "127.0.0.1"


class Server:
    """`mlflow server` on a free port."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        store: str | None = None,
        options: Sequence[str] = (),
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.port = folder, port or free_port()
        self.uri = f"http://{HOST}:{self.port}"
        command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", store or f"sqlite:///{folder}/mlflow.db"]
        command += ["--artifacts-destination", str(folder / "a"), *options]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (folder / "server.log").open("ab") as log:
            environment = {**os.environ, **quiet, **(more or {})}
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def _wait(self) -> None:
        try:
            wait_for("the server to answer", self._answers, by=self.process)
        except (RuntimeError, TimeoutError) as error:
            self.kill()
            raise RuntimeError(f"{error}\n{(self.folder / 'server.log').read_text()[-3000:]}") from error

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=1) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return b"200" in connection.recv(100)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
