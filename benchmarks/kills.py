"""SIGKILLs of a driver on Ray, at moments drawn uniformly over its search: lost, trained again, decided otherwise.

    python benchmarks/kills.py --kills 1000 --into benchmarks/data/kills.jsonl
    python benchmarks/kills.py --soak 100000        (a simulated search, a driver killed every 100 instances)

One line for each search of four kills is appended to the file: what breaks off goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from killing import EXPERIMENT, count, facts
from waiting import wait_for

from raysearch import registry
from raysearch.race.race import Race
from raysearch.records import Configuration, InstanceResult, TrialRequest
from raysearch.storage.decoding import entries
from raysearch.storage.events import Resume, Start
from raysearch.storage.journal import Journal, read

KILLS = 4
"""Of one search."""
SEARCH = {**EXPERIMENT, "execution": {"name": "ray_tune", "local_cpus": 2}}


def n_told(journal: Path) -> int:
    """Return the number of results in a journal that may not exist yet."""
    return journal.read_bytes().count(b'"event":"tell"') if journal.exists() else 0


def search(folder: Path, generator: random.Random, n_instances: int, n_kills: int) -> tuple[float, ...]:
    """Carry the search out, killed after uniformly drawn numbers of results; returns when it was, from 0 to 1."""
    file, journal = folder / "experiment.yaml", folder / "run" / "journal.jsonl"
    file.write_text(yaml.safe_dump(SEARCH))
    command = ["run", str(file), "--run-dir", str(folder / "run")]
    struck = []
    for moment in sorted(generator.uniform(0, n_instances) for _ in range(n_kills)):
        program = [sys.executable, "-m", "raysearch.cli", *command]
        driver = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for("results", lambda at=moment, of=driver: n_told(journal) >= int(at) or of.poll() is not None)
            time.sleep(moment % 1 * 0.2)
        finally:
            driver.kill()
            driver.wait()
        struck.append(n_told(journal) / n_instances)
        if journal.exists():
            command = ["resume", str(folder / "run")]
    done = subprocess.run([sys.executable, "-m", "raysearch.cli", *command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return tuple(struck)


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


def kill(n: int, into: Path) -> None:
    """Kill as often as is still to be done, and say what came of all."""
    into.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in into.read_text().splitlines()] if into.exists() else []
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "undisturbed"
        whole.mkdir()
        search(whole, random.Random(0), 53, 0)
        undisturbed = facts(whole / "run")
        while sum(one["kills"] for one in done) < n:
            number = len(done)
            folder = Path(name) / str(number)
            folder.mkdir()
            moments = search(folder, random.Random(number), len(undisturbed[0]), KILLS)
            counted = count(folder / "run")
            equal = facts(folder / "run") == undisturbed
            told = again_though_told(folder / "run")
            found = {
                "search": number,
                "kills": len(moments),
                "moments": moments,
                "equal": equal,
                "told": told,
                **counted,
            }
            done.append(found)
            with into.open("a") as file:
                file.write(json.dumps(found) + "\n")
    moments = np.array([moment for one in done for moment in one["moments"]])
    quarters = np.histogram(moments, bins=4, range=(0, 1))[0].tolist()
    print(
        "| kills | searches | by quarter of the run | lost | trained again though told | in flight, again | decisions |"
    )
    print("|---|---|---|---|---|---|---|")
    equal = sum(one["equal"] for one in done)
    totals = [sum(one[name] for one in done) for name in ("lost", "told", "trained twice")]
    same = "equal" if equal == len(done) else f"DIFFERENT in {len(done) - equal}"
    print(f"| {len(moments)} | {len(done)} | {quarters} | {totals[0]} | {totals[1]} | {totals[2]} | {same} |")


def soak(n: int, every: int = 100, n_slots: int = 16) -> None:
    """Carry a simulated search of `n` instances out; after every so many results its driver dies with what runs."""
    n_configurations = n // 4
    losses = np.random.default_rng(0).normal(1, 0.3, size=(n_configurations, 1)) * np.ones(64)
    losses = losses + np.random.default_rng(1).normal(0, 0.1, size=losses.shape)
    pool = [Configuration.of({"x": x}) for x in range(n_configurations)]
    rows = {one.id: row for row, one in enumerate(pool)}
    g, start, told, n_faults, n_again = random.Random(0), time.monotonic(), set[Any](), 0, 0
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "journal.jsonl"
        done = False
        while not done:
            with Journal(path) as journal:
                history = list(entries(read(path)))
                race = Race(
                    lambda known: [] if known else pool,
                    registry.load("criteria", "mean"),
                    registry.load("rules", "exhaustive", n_instances=4),
                    journal=journal,
                )
                race.replay(history)
                journal.append(Resume({}) if history else Start({}))
                race.requeue_running()
                running: list[Any] = []
                for _ in range(every):
                    asked = [one for one in race.ask(n_slots - len(running)) if isinstance(one, TrialRequest)]
                    running += [key for one in asked for key in one.keys]
                    n_again += sum(key in told for one in asked for key in one.keys)
                    if not running:
                        done = True
                        break
                    key = running.pop(g.randrange(len(running)))
                    column = race.state.seeds.index(key.seed)[1]
                    race.tell(InstanceResult.of(key, float(losses[rows[key.configuration_id], column])))
                    told.add(key)
            n_faults += not done
    lost = race.state.counts["asked"] - race.state.counts["told"]
    best = int(np.argmin(losses[:, :4].mean(axis=1)))
    right = race.state.verdict is not None and race.state.verdict.leader == best
    seconds = time.monotonic() - start
    print(
        f"{len(told)} instances, {n_faults} drivers dead, {lost} lost, {n_again} again though told, best found: {right}"
    )
    print(f"{seconds:.0f} s")


def main() -> None:
    """Kill, or soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="how often a driver is killed")
    parser.add_argument("--into", type=Path, default=Path("benchmarks/data/kills.jsonl"), help="what was done so far")
    parser.add_argument("--soak", type=int, help="instances of the simulated search")
    options = parser.parse_args()
    if options.soak:
        soak(options.soak)
    else:
        kill(options.kills, options.into)


if __name__ == "__main__":
    main()
