"""A large search on real Ray Tune: time, memory of the driver, journal, and whether it slows down as it goes on.

    python benchmarks/large_run.py              41,567 no-op instances of 6,912 configurations, as the paper's search
    python benchmarks/large_run.py --n 6000     the same on fewer configurations

Each instance returns at once, so that all that is seen is bookkeeping: race, journal, Tune, Ray. No tracker. The time
of an instance is that between two results in the journal, over a thousand of them.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

import ray

import raysearch
from raysearch.storage.journal import read

SLOTS, WARMUP, CONFIRM = 2, 5, 100
SETTLED = 100
"""Results before the actors have all started: not counted to the first thousand."""


def no_op(config: dict, seed: int) -> float:
    """An instance that does nothing; which configuration wins is of no interest, but it must not depend on luck."""
    return float(config["x"])


def n_configurations(n: int) -> int:
    """Return how many configurations a search of about `n` instances by halving has."""
    return max(round((n - CONFIRM + WARMUP) / (WARMUP + 1)), 2)


def peak_gib() -> float:
    """Return the most memory this process, the driver, has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def ms_per_instance(told: list[float], first: int, n: int) -> float:
    """Return milliseconds per result over `n` results from the `first` on."""
    return 1e3 * (told[first + n] - told[first]) / n


def main() -> None:
    """Run the search and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=41_567, help="about so many instances")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    ray.init("local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    before = peak_gib()
    with tempfile.TemporaryDirectory() as folder:
        run_dir, start, cpu = Path(folder) / "run", time.perf_counter(), time.process_time()
        raysearch.search(
            no_op,
            space={"x": list(range(n_configurations(options.n)))},
            criterion="mean",
            rule={"name": "halving", "warmup": WARMUP},
            confirm=CONFIRM,
            run_dir=run_dir,
            tracking=None,
            progress=False,
        )
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        told = [event["t"] for event in read(run_dir / "journal.jsonl") if event["event"] == "tell"]
        size = (run_dir / "journal.jsonl").stat().st_size
    window = min(1000, (len(told) - SETTLED - 1) // 4)
    each = [ms_per_instance(told, at, window) for at in range(SETTLED, len(told) - window, window)]
    last = ms_per_instance(told, len(told) - window - 1, window)
    rows = {
        "configurations": f"{n_configurations(options.n)}",
        "instances": f"{len(told)}",
        "wall time": f"{wall / 60:.1f} min",
        "wall per instance": f"{1e3 * wall / len(told):.1f} ms",
        "driver CPU per instance": f"{1e3 * cpu / len(told):.1f} ms",
        "driver's peak memory": f"{peak_gib():.2f} GiB ({before:.2f} before the search)",
        "journal": f"{size / 1e6:.1f} MB ({size / len(told):.0f} bytes per instance)",
        f"first {window}": f"{each[0]:.1f} ms per instance",
        f"last {window}": f"{last:.1f} ms per instance, {last / each[0]:.2f} times the first",
        f"every {window}, median": f"{statistics.median(each):.1f} ms ({min(each):.1f} to {max(each):.1f})",
    }
    print(f"\n| {SLOTS} slots, no tracker | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
