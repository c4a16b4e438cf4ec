"""The paper's search, for real: 41,567 trainings of digits perceptrons through Ray Tune, journal, MLflow and report.

    python benchmarks/headline.py --run-dir runs/headline                  the whole of it; again goes on where it ended
    python benchmarks/headline.py --run-dir runs/part --fraction 0.02      as many configurations of the same space
    python benchmarks/headline.py --run-dir runs/alone --fraction 0.02 --pack 1         the way without packs
    python benchmarks/headline.py --run-dir runs/sure --rule top_two       the same search, certified
    python benchmarks/headline.py --run-dir runs/one --set 'space.hidden=[[32]]' 'space.activation=[ReLU]'

A fraction drawn by chance has few configurations of each of the 36 architectures, so its packs are narrow and dear; the
last line takes two architectures whole, whose packs are as wide as those of the whole search.

It prints trainings, wall time and the processor time of driver, workers and Ray's own processes, each in all and per
training, from the first request to the written report. Interrupted sessions are added up in `cost.json` in the run
directory; what is trained again after one is paid twice, as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from raysearch.driver.resume import resume
from raysearch.driver.run import run
from raysearch.experiment.experiment import Experiment, from_file
from raysearch.storage.journal import read

SPACE = Path(__file__).parent.parent / "search_spaces" / "digits_6912.yaml"
N_CONFIGURATIONS, CORES = 6912, 2


class Meter(threading.Thread):
    """Processor seconds of this process and its descendants, read from /proc every few seconds: some end on the way."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self._spent: dict[tuple[int, str], tuple[str, float]] = {}

    def run(self) -> None:
        """Look until `end` is called."""
        while not self._ended.wait(2.0):
            self.look()

    def look(self) -> None:
        """Note what each process has spent so far."""
        parents, found = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            parents[int(folder.name)] = int(fields[1])
            found[int(folder.name)] = fields[19], words, seconds
        for pid, (started, words, seconds) in found.items():
            above = pid
            while above not in (os.getpid(), 0, 1):
                above = parents.get(above, 0)
            if above == os.getpid():
                kind = "driver" if pid == above else "workers" if words.startswith(b"ray::") else "Ray's own processes"
                known, _ = self._spent.get((pid, started), (kind, 0.0))
                # the name of a worker is its own to change, and gone when it ends
                self._spent[pid, started] = ("workers" if known == "workers" else kind), seconds

    def end(self) -> dict[str, float]:
        """Return the seconds by kind of process."""
        self.look()
        self._ended.set()
        total: Counter[str] = Counter()
        for kind, seconds in self._spent.values():
            total[kind] += seconds
        return dict(total)


def experiment(options: argparse.Namespace) -> Experiment:
    """Return the search of the file, as far as it was asked for."""
    folder = options.run_dir.absolute()
    values: dict[str, Any] = {
        "execution": {"name": "ray_tune", "pack": options.pack, "local_cpus": CORES, "address": "local"},
        "tracking.uri": f"sqlite:///{folder.parent / folder.name}-mlflow.db",
    }
    if options.fraction < 1:
        n = max(round(options.fraction * N_CONFIGURATIONS), 2)
        values["sampler"] = {"name": "random", "n_configurations": n}
    if options.rule == "top_two":
        values["rule"] = {"name": "top_two"}
    values |= {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.set)}
    return from_file(SPACE).with_values(values)


def carry_out(options: argparse.Namespace) -> dict[str, float]:
    """Begin or go on with the search; return what all its sessions have cost, in seconds."""
    path, meter, start = options.run_dir / "cost.json", Meter(), time.perf_counter()
    before: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    meter.start()
    try:
        if (options.run_dir / "journal.jsonl").exists():
            resume(options.run_dir)
        else:
            run(experiment(options), options.run_dir)
    finally:
        spent = Counter(before) + Counter({"wall": time.perf_counter() - start, **meter.end()})
        if options.run_dir.exists():
            path.write_text(json.dumps(spent))
    return dict(spent)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the 6,912 configurations, drawn by chance")
    parser.add_argument("--pack", default=64, type=lambda text: text if text == "auto" else int(text))
    parser.add_argument("--rule", choices=["halving", "top_two"], default="halving")
    parser.add_argument("--set", nargs="*", default=[], help="settings as of `raysearch run`: space.hidden=[[32]] ...")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options.run_dir.parent.mkdir(parents=True, exist_ok=True)
    spent = carry_out(options)
    told = [line for line in read(options.run_dir / "journal.jsonl") if line["event"] == "tell"]
    n, trained = len(told), sum(line["seconds"] for line in told)
    print(f"\n{n} trainings, pack: {options.pack}, {options.rule}; load at the end {os.getloadavg()[0]:.1f}\n")
    print("| | seconds | ms per training |\n|---|---|---|")
    for name, seconds in {**spent, "spent in trainings (wall, by the workers' clocks)": trained}.items():
        print(f"| {name} | {seconds:.0f} | {1e3 * seconds / n:.1f} |")
    processor = sum(seconds for name, seconds in spent.items() if name != "wall")
    print(f"| processor time in all | {processor:.0f} | {1e3 * processor / n:.1f} |")


if __name__ == "__main__":
    main()
