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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import faults
from killing import EXPERIMENT, count, facts, kill_and_resume

from raysearch.driver import run
from raysearch.driver.resume import resume
from raysearch.errors import JournalError
from raysearch.execution import ray_controller
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import read

SLOTS = 2


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


FAULTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "driver killed (SIGKILL), then resumed": driver_killed,
    "worker killed (SIGKILL)": struck("kill"),
    "worker hangs, timeout_s 2": struck("hang", timeout_s=2.0),
    f"worker holds the interpreter, timeout_s 2 + {ray_controller.GRACE_S:g}": struck("hold", timeout_s=2.0),
    "worker out of memory (MemoryError)": struck("memory"),
    "worker out of memory (killed by Ray's monitor)": monitored,
    "node removed while it trains": node_removed,
    "full disk under the run directory, then freed": disk_full,
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
            same = "as undisturbed" if facts(folder / "run") == undisturbed else "DIFFERENT"
            seconds = found["seconds"]
            shown = f"{statistics.median(seconds):.1f} (at most {max(seconds):.1f})" if seconds else "-"
            print(
                f"| {fault} | {found['faults']} | {found['instances']} | {found['lost']} | {found['trained twice']} "
                f"| {same} | {shown} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
