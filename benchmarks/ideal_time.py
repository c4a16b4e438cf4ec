"""Whole run against the ideal: 1-second instances on two slots, MLflow on.

    python benchmarks/ideal_time.py --n 200

The ideal is n / 2 seconds after the first instance has started. Goal: at most 1.10 times that, up to the last result in
MLflow and the report on disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import raysearch
from raysearch.tracking.silent import Silent

SLOTS, SECONDS = 2, 1.0


@dataclass(frozen=True)
class _Clock(Silent):
    told_at: list[float] = field(default_factory=list)

    def told(self, *arguments: object) -> None:
        self.told_at.append(time.perf_counter())


def sleep(config: dict, seed: int) -> float:
    """An instance of one second that needs no processor."""
    time.sleep(SECONDS)
    return float(config["x"])


def main() -> None:
    """Run one search and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200, help="instances, a multiple of 10")
    options = parser.parse_args()
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        experiment = raysearch.Experiment.model_validate(
            {
                "name": "ideal-time",
                "workload": "function",
                "space": {"x": list(range(options.n // 10))},
                "rule": {"name": "exhaustive", "n_instances": 10},
                "race": {"confirm": 0},
                "execution": {"name": "ray_tune", "local_cpus": SLOTS},
                "tracking": {"name": "mlflow", "uri": f"sqlite:///{folder}/mlflow.db"},
            }
        )
        from raysearch.workloads.function import Function

        raysearch.run(experiment, Path(folder) / "run", workload=Function(sleep), watchers=[clock])
        end = time.perf_counter()
    # the first two results came one second after their start: start-up ends there
    start = clock.told_at[0] - SECONDS
    ideal = options.n / SLOTS * SECONDS
    print(f"n = {options.n} instances of {SECONDS:g} s on {SLOTS} slots, MLflow on SQLite\n")
    print("| until | seconds after start-up | against the ideal |")
    print("|---|---|---|")
    print(f"| ideal | {ideal:.1f} | 1.00 |")
    print(f"| last result | {clock.told_at[-1] - start:.1f} | {(clock.told_at[-1] - start) / ideal:.3f} |")
    print(f"| report written, MLflow complete | {end - start:.1f} | {(end - start) / ideal:.3f} |")


if __name__ == "__main__":
    main()
