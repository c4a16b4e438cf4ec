"""How fast the race itself is: 6,912 configurations through `halving` on recorded losses, one core.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/race_speed.py

Goal: the whole race in under 60 s and 1 GiB.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.replay import of_matrix, simulate
from raysearch.race.race import Race
from raysearch.records import Configuration
from raysearch.registry import load
from raysearch.tracking.silent import Silent

N_CONFIGURATIONS, N_INSTANCES, CONFIRM = 6912, 50, 100


def main() -> None:
    """Replay the race on 1, 64 and 512 simulated workers and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 64, 512])
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    level = 0.022 + 0.01 * generator.random((N_CONFIGURATIONS, 1))
    losses = level + 0.002 * np.abs(generator.standard_t(3, (N_CONFIGURATIONS, N_INSTANCES + CONFIRM)))
    seconds = generator.lognormal(0.0, 0.3, losses.shape)
    pool = [Configuration.of({"number": number}) for number in range(N_CONFIGURATIONS)]
    print(f"{N_CONFIGURATIONS} configurations, {N_INSTANCES} instances each at hand, rule halving(warmup=5)\n")
    print("| simulated workers | instances | wall s | peak memory GiB | utilisation |")
    print("|---|---|---|---|---|")
    for n_workers in options.workers:
        start = time.perf_counter()
        race = Race(
            lambda outcomes: [] if outcomes else pool, load("criteria", "q3"), load("rules", "halving"), confirm=CONFIRM
        )
        simulation = simulate(RaceRunner(race, Silent()), of_matrix(losses, seconds), n_workers)
        wall = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"| {n_workers} | {simulation.n_instances} | {wall:.1f} | {peak:.2f} | {simulation.utilisation:.2f} |")


if __name__ == "__main__":
    main()
