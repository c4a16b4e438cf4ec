"""Faults that happen to real processes of a race on Ray, and what came of them; for tests and benchmarks.

Each function carries out a small race in which the fault strikes, in the Ray cluster of this process or one of its own,
and returns the books (`killing.count`) with the number of `faults` and the `seconds` from each fault to the result of
the instance it hit.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from killing import EXPERIMENT, count
from ray import cloudpickle
from waiting import wait_for

from raysearch.driver import run
from raysearch.execution.ray_tune import RayTune
from raysearch.experiment.experiment import from_data, section_of
from raysearch.storage.journal import read
from raysearch.workloads.synthetic import Synthetic

# workers cannot import this module: send what it defines by value
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Struck(Synthetic):
    """Instances of which some are struck once, in the middle of their epochs: `how` names the blow.

    A struck instance leaves a mark in `fail_once_in`, whose time is that of the fault.
    """

    how: str = "kill"

    def _fail(self, configuration: Any, seed: int) -> None:
        mark = Path(self.fail_once_in) / f"{configuration.id}-{seed}"
        if not mark.exists():
            mark.touch()
            BLOWS[self.how]()


def hold_the_interpreter() -> None:
    """Loop for ever in compiled code: no other thread of the process runs any more."""
    re.match(r"(a+)+b", "a" * 64)


def need_too_much() -> None:
    """Ask for more memory than the process may have: a MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 2**28, hard))
    try:
        np.ones(2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def eat_memory() -> None:
    """Take memory and keep it until Ray's memory monitor kills the process, 4 GiB at most."""
    kept = []
    for _ in range(64):
        kept.append(np.ones(2**23))
        time.sleep(0.05)
    time.sleep(30)


BLOWS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(3600),
    "hold": hold_the_interpreter,
    "memory": need_too_much,
    "eat": eat_memory,
}


def strike(folder: Path, how: str, *, fail: float = 0.05, **settings: Any) -> dict[str, Any]:
    """Carry a race out on the Ray cluster of this process; `settings` are those of the executor."""
    marks, run_dir = folder / "marks", folder / "run"
    marks.mkdir(parents=True)
    workload = Struck(epochs=4, seconds=0.1, fail=fail, fail_once_in=str(marks), how=how)
    executor = section_of(RayTune(**settings))
    result = run(from_data({**EXPERIMENT, "execution": executor}), run_dir, workload=workload)
    assert result.verdict.confirmation is not None
    told = {f"{e['configuration']}-{e['seed']}": e["t"] for e in tells(run_dir)}
    struck = {mark.name: mark.stat().st_mtime for mark in marks.iterdir()}
    seconds = [told[name] - at for name, at in struck.items() if name in told]
    return {**count(run_dir), "faults": len(struck), "seconds": seconds}


def tells(run_dir: Path) -> list[Any]:
    """Return the events of results."""
    return [event for event in read(run_dir / "journal.jsonl") if event["event"] == "tell"]


def apart(call: str, folder: Path, *, more: dict[str, str] | None = None) -> None:
    """Call a function of this module, `call(folder)`, in a process of its own, which has no Ray cluster yet."""
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    code = f"import sys, pathlib, faults; faults.{call}(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, env={**environment, **(more or {})}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def node_removed(folder: Path) -> None:
    """Carry a race out on two raylets, one of which is taken away while it trains; leaves its time in `struck`."""
    import ray
    from ray.cluster_utils import Cluster

    run_dir = folder / "run"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    node = cluster.add_node(num_cpus=1)

    def remove() -> None:
        # instances end on both nodes at that time: one is always being trained on the node that goes
        wait_for("12 instances to end", lambda: n_told(run_dir) >= 12)
        cluster.remove_node(node, allow_graceful=False)
        (folder / "struck").touch()

    threading.Thread(target=remove, daemon=True).start()
    section = section_of(RayTune(address=cluster.address))
    workload = {"name": "synthetic", "epochs": 4, "seconds": 0.6}
    run(from_data({**EXPERIMENT, "execution": section, "workload": workload}), run_dir)
    ray.shutdown()
    cluster.shutdown()


def memory_monitored(folder: Path) -> None:
    """Carry a race out in which a worker takes memory until Ray's monitor kills it."""
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    strike(folder, "eat", fail=0.02)
    ray.shutdown()


def monitor_settings(room_gib: float = 2.5) -> dict[str, str]:
    """Return the environment that lets Ray's memory monitor kill once `room_gib` more than now are in use."""
    from ray._private.utils import get_system_memory, get_used_memory

    words = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    used = max(get_used_memory(), 1024 * (words["MemTotal"] - words["MemAvailable"]))
    share = (used + room_gib * 2**30) / get_system_memory()
    return {"RAY_memory_usage_threshold": f"{min(share, 0.99):.4f}", "RAY_memory_monitor_refresh_ms": "100"}


def n_told(run_dir: Path) -> int:
    """Return how many instances have ended."""
    return (run_dir / "journal.jsonl").read_bytes().count(b'"event":"tell"')


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """Mount a file system of that size, e.g. `4m`; raises PermissionError where that is not allowed."""
    path.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        raise PermissionError(mounted.stderr.strip())
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
