"""Drivers killed at random moments, and what must not depend on it; for tests and benchmarks."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from waiting import wait_for

from raysearch.storage.journal import read

EXPERIMENT: dict[str, Any] = {
    "name": "resumed",
    "seed": 7,
    "workload": {"name": "synthetic", "epochs": 4, "seconds": 0.15},
    "space": {"level": [0.2, 0.21, 0.23, 0.26, 0.3, 0.35], "spread": [0.01, 0.03]},
    "criterion": "q3",
    "rule": {"name": "halving", "warmup": 3},
    "race": {"confirm": 8},
    "execution": {"name": "local"},
    "tracking": None,
}


def facts(run_dir: Path) -> tuple[Any, ...]:
    """What must not depend on how often the driver died."""
    events = list(read(run_dir / "journal.jsonl"))
    losses = {(e["configuration"], e["seed"]): e["loss"] for e in events if e["event"] == "tell"}
    cuts = [(e["round"], e["cutoff"], e["configurations"]) for e in events if e["event"] == "eliminate"]
    winners = [e["winner"] for e in events if e["event"] == "verdict"]
    return losses, cuts, winners


def kill_and_resume(folder: Path, n_kills: int, generator: random.Random, *arguments: str) -> dict[str, Any]:
    """Run EXPERIMENT by the command line, kill its driver `n_kills` times, and let it end; returns what was counted."""
    file, run_dir = folder / "experiment.yaml", folder / "run"
    file.write_text(yaml.safe_dump(EXPERIMENT))
    command = ["run", str(file), "--run-dir", str(run_dir)]
    killed = []
    for _ in range(n_kills):
        _kill_at_random([*command, *arguments], run_dir / "journal.jsonl", generator)
        killed.append(time.time())
        if (run_dir / "journal.jsonl").exists():
            command = ["resume", str(run_dir)]
    done = subprocess.run([sys.executable, "-m", "raysearch.cli", *command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    counted = count(run_dir)
    asked = [e["t"] for e in read(run_dir / "journal.jsonl") if e["event"] == "ask"]
    recovered = [min(t for t in asked if t > at) - at for at in killed if at < asked[-1]]
    return {**counted, "faults": n_kills, "seconds": recovered}


def _kill_at_random(arguments: list[str], journal: Path, generator: random.Random) -> None:
    """Start a driver and kill it some lines of its journal later."""
    program = [sys.executable, "-m", "raysearch.cli", *arguments]
    driver = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    enough = n_lines(journal) + generator.randint(2, 12)
    try:
        wait_for("the driver to write", lambda: n_lines(journal) >= enough or driver.poll() is not None)
        time.sleep(generator.random() * 0.3)
    finally:
        driver.kill()
        driver.wait()


def count(run_dir: Path) -> dict[str, Any]:
    """Return how many instances a finished run has, has lost and has trained more than once, and check its books."""
    events = list(read(run_dir / "journal.jsonl"))
    asked = Counter((e["configuration"], seed) for e in events if e["event"] == "ask" for seed in e["seeds"])
    ended = Counter((e["configuration"], e["seed"]) for e in events if e["event"] in ("tell", "stop"))
    given_up = {(e["configuration"], e["seed"]): 1 for e in events if e["event"] == "tell" and e["status"] == "FAILED"}
    again = Counter((e["configuration"], e["seed"]) for e in events if e["event"] in ("lost", "failure"))
    assert set(ended.values()) <= {1}, "an instance ended twice"
    # the last failure of an instance that is given up is no reason to ask again
    assert asked == ended + again - Counter(given_up)
    return {"instances": len(ended), "trained twice": asked.total() - len(asked), "lost": len(set(asked) - set(ended))}


def n_lines(path: Path) -> int:
    """Return the number of whole lines in a file that may not exist yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0
