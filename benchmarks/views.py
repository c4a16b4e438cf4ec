"""How long a large search takes to be looked at, gone on with and grown: by simulation, journal and all.

    python benchmarks/views.py                                                     the paper's search, 50-epoch curves
    python benchmarks/views.py --configurations 100000 --instances 10 --workers 4096 --epochs 0       10^6 instances

A race by halving (or, with `--instances`, of so many instances each) is carried out on simulated workers and written to
a journal, without fsync; then what a user types is run on it, each command in a process of its own: wall and processor
seconds, and the most memory that it held.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from raysearch.driver.run import build, make_race, runner_of
from raysearch.execution.replay import simulate
from raysearch.experiment.experiment import Experiment, from_data
from raysearch.race.state import State
from raysearch.records import InstanceKey, InstanceResult
from raysearch.storage.events import Start
from raysearch.storage.journal import VERSION, Journal
from raysearch.storage.run_directory import RunDirectory
from raysearch.tracking.silent import Silent

_APP = "from raysearch.cli import app; app([{name!r}, {run!r}], standalone_mode=False)"
COMMANDS = {
    "status": _APP,
    "report": _APP,
    "load": "import raysearch; raysearch.load({run!r})",
    "race of a resume": "from raysearch.driver.status import race_of; from pathlib import Path; race_of(Path({run!r}))",
}


def experiment_of(n: int, epochs: int, n_instances: int | None) -> Experiment:
    """Return the search of `n` configurations."""
    rule = {"name": "exhaustive", "n_instances": n_instances} if n_instances else {"name": "halving", "warmup": 5}
    return from_data(
        {
            "name": "large",
            "seed": 1,
            "workload": {"name": "synthetic", "epochs": max(epochs, 1)},
            "space": {"level": [round(0.2 + 1e-5 * i, 6) for i in range(n)], "spread": [0.1]},
            "criterion": "q3",
            "rule": rule,
            "race": {"confirm": 100},
            "execution": "local",
        }
    )


def carry_out(experiment: Experiment, run_dir: Path, epochs: int, n_workers: int) -> list[float]:
    """Write the journal of the race; return the processor time at each result."""
    fading, ended = np.exp(-np.arange(epochs) / 10), []

    def answer(state: State, key: InstanceKey) -> InstanceResult:
        level = state.configuration(key.configuration_id).parameters["level"]
        generator = np.random.default_rng(key.seed)
        loss, seconds = level + 0.1 * abs(generator.normal()), float(generator.lognormal(0.0, 0.3))
        return InstanceResult.of(key, loss, curve=tuple((loss + fading).tolist()), seconds=seconds, test_loss=loss)

    class Watcher(Silent):
        def told(self, *_: object) -> None:
            ended.append(time.process_time())

    os.fsync = lambda fd: None  # what a disk takes is measured by large_run.py
    parts, directory = build(experiment), RunDirectory.create(run_dir, "large")
    data = experiment.model_dump(mode="json")
    with Journal(directory.journal) as journal:
        directory.write_text(directory.experiment, "made by benchmarks/views.py")
        journal.append(Start(data, VERSION, "0"))
        simulate(runner_of(parts, make_race(parts, journal), Watcher()), answer, n_workers)
    return ended


def measured(command: str) -> tuple[float, float, float]:
    """Return wall seconds, processor seconds and the peak memory in GiB of a process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    code = (
        f"{command}\nimport resource, sys; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, int(done.stderr.split()[-1]) / 2**20


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=6912)
    parser.add_argument("--instances", type=int, help="of each configuration, in place of halving(warmup=5)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=50, help="of a curve; 0 for none")
    options = parser.parse_args()
    experiment = experiment_of(options.configurations, options.epochs, options.instances)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        ended = carry_out(experiment, run_dir, options.epochs, options.workers)
        n, size = len(ended), (run_dir / "journal.jsonl").stat().st_size
        tenth = max(n // 10, 1)
        first, last = (1e3 * (ended[at + tenth - 1] - ended[at]) / tenth for at in (0, n - tenth))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"\n{n} instances of {options.configurations} configurations, {options.workers} workers, "
              f"curves of {options.epochs}; load {os.getloadavg()[0]:.1f}\n\n| | |\n|---|---|")  # fmt: skip
        print(f"| driver, CPU per instance | {first:.3f} ms in the first tenth, {last:.3f} in the last |")
        print(f"| driver, most memory | {peak:.2f} GiB |")
        print(f"| journal | {size / 1e6:.0f} MB, {size / n:.0f} bytes per instance |", flush=True)
        for name, command in COMMANDS.items():
            wall, cpu, gib = measured(command.format(name=name, run=str(run_dir)))
            print(f"| {name} | {wall:.1f} s ({cpu:.1f} s of processor time), {gib:.2f} GiB |", flush=True)


if __name__ == "__main__":
    main()
