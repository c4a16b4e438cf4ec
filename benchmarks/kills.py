"""SIGKILLs of a driver on Ray, at moments drawn uniformly over its search: lost, trained again, decided otherwise.

    python benchmarks/kills.py --kills 1000 --into benchmarks/data/kills.jsonl

A driver is the command line, `raysearch run` and then `raysearch resume`, in a process forked from this one, which has
imported what drivers import and is connected to nothing; workers are forked likewise (_forked_workers.py): Python's own
start is not what is tried. All drivers join one Ray cluster of two CPUs on this machine. One line for each search is
appended to the file: what breaks off goes on where it was.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import _forked_workers
from killing import EXPERIMENT, count, facts, n_lines
from waiting import wait_for

from raysearch import cli
from raysearch.storage.journal import read

KILLS = 20
"""Of one search."""
LATER_S = 0.3
"""So long at most is waited after a result, which takes .15 s: a kill may strike anywhere between two."""
SEARCH = {**EXPERIMENT, "execution": {"name": "ray_tune"}}
IMPORTED = (
    *("matplotlib.figure", "pandas", "pyarrow.parquet", "ray.tune", "rich.live", "scipy.stats"),
    *(f"raysearch.driver.{name}" for name in ("run", "resume", "status", "finish", "watch", "notebook")),
    *(f"raysearch.execution.ray_{name}" for name in ("cluster", "scheduler", "searcher", "trainable", "metrics")),
    *("raysearch.analysis.report", "raysearch.analysis.console", "raysearch.workloads.synthetic"),
)
"""What a driver imports on its way."""
WORKERS_IMPORT = "raysearch.execution.ray_trainable"
CLUSTER = """
import sys, ray
sys.executable = sys.argv[2]
context = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1])
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Keep a Ray cluster of two CPUs that every driver joins, as RAY_ADDRESS says; it outlives them all."""
    os.environ |= {
        **{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(16).hex(), "RAY_USAGE_STATS_ENABLED": "0"},
        "RAY_worker_niceness": str(os.nice(0)),  # 15 otherwise: on a busy machine drivers would wait for them for ever
    }
    piped: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server = [sys.executable, _forked_workers.__file__, str(folder), WORKERS_IMPORT]
    cluster = [sys.executable, "-c", CLUSTER, str(folder / "ray"), str(_forked_workers.program(folder))]
    with subprocess.Popen(server, **piped) as forking:
        try:
            assert forking.stdout is not None
            forking.stdout.readline()
            with subprocess.Popen(cluster, **piped) as ray:
                assert ray.stdout is not None
                os.environ["RAY_ADDRESS"] = ray.stdout.readline().strip()
                try:
                    yield
                finally:
                    del os.environ["RAY_ADDRESS"]
                    ray.communicate("")
        finally:
            forking.communicate("")


@dataclass
class Driver:
    """A command line in a forked process."""

    pid: int
    code: int | None = None
    """What `waitpid` said of its end; minus the signal's number where one ended it."""
    cpu_s: float = 0.0

    @classmethod
    def start(cls, folder: Path, *arguments: str) -> Driver:
        """Fork, and let the command line do what a shell would have it do."""
        gc.freeze()  # or the child's first collection copies all pages
        pid = os.fork()
        if pid:
            return cls(pid)
        code = 70
        try:
            os.setsid()
            tempfile.tempdir = str(folder)
            out = os.open(folder / "driver.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
                os.dup2(source, target)
            sys.argv = ["raysearch", *arguments]
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def ended(self, *, wait: bool = False) -> bool:
        """Return whether it has; with `wait`, once it has."""
        if self.code is None:
            pid, status, used = os.wait4(self.pid, 0 if wait else os.WNOHANG)
            if pid:
                self.code, self.cpu_s = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        return self.code is not None

    def kill(self) -> bool:
        """Kill it; return whether it was that which ended it."""
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
        self.ended(wait=True)
        return self.code == -signal.SIGKILL


def n_told(journal: Path) -> int:
    """Return the number of results in a journal that may not exist yet."""
    return journal.read_bytes().count(b'"event":"tell"') if journal.exists() else 0


def search(folder: Path, generator: random.Random, n_instances: int, n_kills: int) -> dict[str, Any]:
    """Carry the search out, killed after uniformly drawn numbers of results; returns what was seen of the kills.

    Each driver has written at least one line before it dies: an idle death would be no trial.
    """
    file, journal = folder / "experiment.yaml", folder / "run" / "journal.jsonl"
    file.write_text(yaml.safe_dump(SEARCH))
    command = ["run", str(file), "--run-dir", str(folder / "run")]
    moments, lines, cpu_s = [], [], 0.0
    for moment in sorted(generator.uniform(0, n_instances) for _ in range(n_kills)):
        before, driver = n_lines(journal), Driver.start(folder, *command)

        def due(before: int = before, least: int = int(moment), driver: Driver = driver) -> bool:
            return driver.ended() or (n_lines(journal) > before and n_told(journal) >= least)

        try:
            wait_for("results", due, timeout_s=600, pause_s=0.02)
            time.sleep(moment % 1 * LATER_S)
        finally:
            killed = driver.kill()
        if killed:
            moments.append(round(n_told(journal) / n_instances, 3))
            lines.append(n_lines(journal) - before)
        elif driver.code:
            raise RuntimeError((folder / "driver.log").read_text()[-3000:])
        cpu_s += driver.cpu_s
        command = ["resume", str(folder / "run")]
    last = Driver.start(folder, *command)
    if not last.ended(wait=True) or last.code:
        raise RuntimeError((folder / "driver.log").read_text()[-3000:])
    return {"kills": len(moments), "moments": moments, "lines": lines, "drivers_cpu_s": round(cpu_s + last.cpu_s, 1)}


def again_though_told(run_dir: Path) -> int:
    """Return how many instances were asked for after their result was in the journal."""
    told: set[Any] = set()
    again = 0
    for event in read(run_dir / "journal.jsonl"):
        if event["event"] == "tell":
            told.add((event["configuration"], event["seed"]))
        elif event["event"] == "ask":
            again += sum((event["configuration"], seed) in told for seed in event["seeds"])
    return again


def kill(n: int, into: Path, first: int) -> list[dict[str, Any]]:
    """Kill as often as is still to be done; returns what was seen of each search."""
    into.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in into.read_text().splitlines()] if into.exists() else []
    if sum(one["kills"] for one in done) >= n:
        return done
    with tempfile.TemporaryDirectory(prefix="rk", ignore_cleanup_errors=True) as name, cluster(Path(name)):
        for module in IMPORTED:  # only now: Ray's core reads the token when it is loaded
            importlib.import_module(module)
        whole = Path(name) / "undisturbed"
        whole.mkdir()
        search(whole, random.Random(0), 53, 0)
        undisturbed = facts(whole / "run")
        while (left := n - sum(one["kills"] for one in done)) > 0:
            number, start = first + len(done), time.monotonic()
            folder = Path(name) / str(number)
            folder.mkdir()
            seen = search(folder, random.Random(number), len(undisturbed[0]), min(KILLS, left))
            found = {
                "search": number,
                **seen,
                "equal": facts(folder / "run") == undisturbed,
                "told": again_though_told(folder / "run"),
                **count(folder / "run"),
                "seconds": round(time.monotonic() - start, 1),
            }
            done.append(found)
            with into.open("a") as file:
                file.write(json.dumps(found) + "\n")
            shutil.rmtree(folder, ignore_errors=True)
    return done


def say(done: list[dict[str, Any]]) -> None:
    """Print what came of all kills."""
    moments = np.array([moment for one in done for moment in one["moments"]])
    quarters = np.histogram(moments, bins=4, range=(0, 1))[0].tolist()
    lost, told, again = (sum(one[name] for one in done) for name in ("lost", "told", "trained twice"))
    n_equal = sum(one["equal"] for one in done)
    same = "as undisturbed" if n_equal == len(done) else f"DIFFERENT in {len(done) - n_equal}"
    seconds, cpu_s = (sum(one[name] for one in done) for name in ("seconds", "drivers_cpu_s"))
    print("| kills | searches | by quarter of the results | lost | again though told | in flight, again | decisions |")
    print("|---|---|---|---|---|---|---|")
    print(f"| {len(moments)} | {len(done)} | {quarters} | {lost} | {told} | {again} | {same} |")
    print(f"\n{seconds / 60:.0f} min, {cpu_s / max(len(moments), 1):.1f} s of the drivers' processor time a kill")


def main() -> None:
    """Kill, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="how often a driver is killed")
    parser.add_argument("--into", type=Path, default=Path("benchmarks/data/kills.jsonl"), help="what was done so far")
    parser.add_argument("--first", type=int, default=0, help="number of the first search, which draws its moments")
    options = parser.parse_args()
    say(kill(options.kills, options.into, options.first))


if __name__ == "__main__":
    main()
