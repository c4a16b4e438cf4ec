"""Faults on real processes: how often each was tried, what was lost, what was trained twice, how long it took.

    python benchmarks/faults.py --kills 20

Seconds to recover: from a driver's death until the one that resumes its search hands out work; from any other fault to
the result of the instance that it hit. The decisions of every race are compared with those of an undisturbed one. Ray
tells of dead workers on standard error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import faults
from killing import EXPERIMENT, count, facts, kill_and_resume
from mlflow_image import image
from mlflow_server import Server

from raysearch.driver import run
from raysearch.driver.resume import resume
from raysearch.driver.sync import sync
from raysearch.errors import JournalError
from raysearch.execution import ray_controller
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import read
from raysearch.tracking.silent import Silent

SLOTS = 2
ON_RAY = {"name": "ray_tune"}
"""In the cluster of this process."""


def driver_killed(folder: Path, n: int) -> dict[str, Any]:
    """SIGKILL at random moments of one race on Ray, resumed each time."""
    setting = json.dumps({"name": "ray_tune", "local_cpus": SLOTS})
    return kill_and_resume(folder, n, random.Random(0), "--set", f"execution={setting}")


def struck(how: str, **settings: Any) -> Callable[[Path, int], dict[str, Any]]:
    """Return the fault that strikes about one instance in ten."""

    def fault(folder: Path, n: int) -> dict[str, Any]:
        return faults.strike(folder, how, fail=0.1, **settings)

    return fault


def node_removed(folder: Path, n: int) -> dict[str, Any]:
    """One of two nodes goes while it trains."""
    faults.apart("node_removed", folder)
    at = (folder / "struck").stat().st_mtime
    events = list(read(folder / "run" / "journal.jsonl"))
    hit = {(e["configuration"], e["seed"]) for e in events if e["event"] == "failure"}
    told = [e["t"] - at for e in events if e["event"] == "tell" and (e["configuration"], e["seed"]) in hit]
    return {**count(folder / "run"), "faults": 1, "seconds": told}


def monitored(folder: Path, n: int) -> dict[str, Any]:
    """Workers are killed by Ray's memory monitor."""
    faults.apart("memory_monitored", folder, more=faults.monitor_settings())
    told = {f"{e['configuration']}-{e['seed']}": e["t"] for e in faults.tells(folder / "run")}
    marks = list((folder / "marks").iterdir())
    seconds = [told[mark.name] - mark.stat().st_mtime for mark in marks]
    return {**count(folder / "run"), "faults": len(marks), "seconds": seconds}


def disk_full(folder: Path, n: int) -> dict[str, Any]:
    """The disk of the run directory is full, is freed, and the search resumed."""
    experiment = from_data({**EXPERIMENT, "workload": {"name": "synthetic", "epochs": 4}})
    with faults.small_disk(folder / "disk", "4m") as disk:
        (disk / "filler").write_bytes(bytes(4080 * 1024))
        try:
            run(experiment, disk / "run")
        except JournalError:
            (disk / "filler").unlink()
        resume(disk / "run")
        shutil.copytree(disk / "run", folder / "run")
    times = [e["t"] for e in read(folder / "run" / "journal.jsonl")]
    gap = max(after - before for before, after in itertools.pairwise(times))
    return {**count(folder / "run"), "faults": 1, "seconds": [gap]}


def server_killed(folder: Path, n: int) -> dict[str, Any]:
    """The tracking server dies in mid-run, comes back after the end, and `sync` tells it what it missed.

    Seconds are those of `sync`; lost is what MLflow lacks after it.
    """
    server, run_dir = Server(folder), folder / "run"

    class Killer(Silent):
        def told(self, configuration: Any, result: Any, phase: Any) -> None:
            if (run_dir / "journal.jsonl").read_bytes().count(b'"event":"tell"') == 20:
                server.kill()

    tracking = {"name": "mlflow", "uri": server.uri, "timeout_s": 2}
    run(from_data({**EXPERIMENT, "tracking": tracking, "execution": ON_RAY}), run_dir, watchers=[Killer()])
    again = Server(folder, server.port)
    try:
        began = time.monotonic()
        sync(run_dir)
        seconds = time.monotonic() - began
        told = {(e["configuration"], str(e["seed"])) for e in read(run_dir / "journal.jsonl") if e["event"] == "tell"}
        held = image(server.uri, EXPERIMENT["name"], with_ids=False)
        return {**count(run_dir), "lost": len(told - set(held)), "faults": 1, "seconds": [seconds]}
    finally:
        again.kill()


def always_crashes(folder: Path, n: int) -> dict[str, Any]:
    """One instance in twenty crashes whenever it is tried; undisturbed is the same search in this process.

    Seconds are those from the first crash of an instance to the last, which gives it up.
    """
    crashing = {**EXPERIMENT, "workload": {"name": "synthetic", "epochs": 4, "fail": 0.05}}
    run(from_data(crashing), folder / "here")
    run(from_data({**crashing, "execution": ON_RAY}), folder / "run")
    crashes: dict[Any, list[float]] = {}
    for event in read(folder / "run" / "journal.jsonl"):
        if event["event"] == "failure" or event.get("status") == "FAILED":
            crashes.setdefault((event["configuration"], event["seed"]), []).append(event["t"])
    seconds = [times[-1] - times[0] for times in crashes.values()]
    same = facts(folder / "here")
    return {**count(folder / "run"), "faults": len(crashes), "seconds": seconds, "undisturbed": same}


FAULTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "driver killed (SIGKILL), then resumed": driver_killed,
    "worker killed (SIGKILL)": struck("kill"),
    "worker hangs, timeout_s 2": struck("hang", timeout_s=2.0),
    f"worker holds the interpreter, timeout_s 2 + {ray_controller.GRACE_S:g}": struck("hold", timeout_s=2.0),
    "worker out of memory (MemoryError)": struck("memory"),
    "worker out of memory (killed by Ray's monitor)": monitored,
    "node removed while it trains": node_removed,
    "full disk under the run directory, then freed": disk_full,
    "tracking server killed, back after the end, then `raysearch sync`": server_killed,
    "instances that crash whenever they are tried": always_crashes,
}


def main() -> None:
    """Try every fault and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how often the driver is killed")
    parser.add_argument("--only", default="", help="only faults whose name contains this")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    ray.init("local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        run(from_data({**EXPERIMENT, "workload": {"name": "synthetic", "epochs": 4}}), Path(name) / "undisturbed")
        undisturbed = facts(Path(name) / "undisturbed")
        print("| fault | tried | instances | lost | trained twice | decisions and losses | seconds to recover |")
        print("|---|---|---|---|---|---|---|")
        for number, (fault, carry_out) in enumerate(FAULTS.items()):
            if options.only not in fault:
                continue
            folder = Path(name) / str(number)
            folder.mkdir()
            found = carry_out(folder, options.kills)
            same = "as undisturbed" if facts(folder / "run") == found.get("undisturbed", undisturbed) else "DIFFERENT"
            seconds = found["seconds"]
            shown = f"{statistics.median(seconds):.1f} (at most {max(seconds):.1f})" if seconds else "-"
            print(
                f"| {fault} | {found['faults']} | {found['instances']} | {found['lost']} | {found['trained twice']} "
                f"| {same} | {shown} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
