"""Starts real daemons (Ray nodes, Prometheus, Slurm) for tests and ends all of them, and only them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for

BIN = Path(sys.executable).parent


def need(*programs: str, package: str) -> None:
    """Skip the test unless these programs are installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (Debian package {package})")


def need_ray_extra() -> None:
    """Skip the test unless Ray's dashboard, job server and metrics are installed."""
    pytest.importorskip("aiohttp_cors", reason="the extra `cluster` (ray[default]) is not installed")
    pytest.importorskip("prometheus_client", reason="the extra `cluster` (ray[default]) is not installed")


def free_port() -> int:
    """Return a port below the range from which the kernel and Ray's workers take theirs."""
    for port in range(21000 + os.getpid() % 5000, 32000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("", port))
            return port
    raise OSError("no free port")


class Daemons:
    """A directory with a short path, for sockets, and the processes that work in it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="rs", dir="/tmp"))
        self.environment: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))},
            "PATH": f"{BIN}:/usr/sbin:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.urandom(16).hex(),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # see conftest
            "OMP_NUM_THREADS": "1",
        }
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: Sequence[Any], **options: Any) -> subprocess.Popen[bytes]:
        """Start a process; what it prints goes to `name`.log in the directory."""
        words = [str(word) for word in command]
        with (self.directory / f"{name}.log").open("ab") as log:
            options = {"env": self.environment, "start_new_session": True, **options}
            process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, **options)
        self.started.append(process)
        return process

    def run(self, command: Sequence[Any], **options: Any) -> str:
        """Run a command to its end and return what it printed; fail the test if it fails."""
        options = {"env": self.environment, "capture_output": True, "text": True, **options}
        result = subprocess.run([str(word) for word in command], check=False, **options)
        assert result.returncode == 0, f"{command} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
        return str(result.stdout)

    def start_ray(self, name: str, *options: Any, prefix: Sequence[Any] = ()) -> Any:
        """Start one Ray node in a temporary directory of its own name."""
        command = [*prefix, "ray", "start", "--block", "--disable-usage-stats", *options]
        return self.start(name, [*command, "--temp-dir", self.directory / name])

    def wait_for_ray(self, name: str, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Wait until a node of `start_ray` has started; one that ended is started again, twice. Return its process.

        On a busy machine Ray gives up on its raylet after 30 s.
        """
        for _ in range(3):
            wait_for(
                f"Ray's node {name}",
                lambda of=process: "Ray runtime started" in self.log(name) or of.poll() is not None,
            )
            if process.poll() is None:
                return process
            process = self.start(name, process.args)  # type: ignore[arg-type]
        raise RuntimeError(f"Ray's node {name} ended three times:\n{self.log(name)}")

    def log(self, name: str) -> str:
        """Return what a process has printed."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """End the processes and what they started, which all name the directory or share their sessions."""
        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for pid in self._leftovers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _leftovers(self) -> list[int]:
        mark = f"{self.directory}/".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes() + b"/":
                    found.append(int(entry.name))
        return [pid for pid in found if pid != os.getpid()]
