"""TPE with `top_two` against random with `halving`, end to end on the real calorimeter job, small.

    OMP_NUM_THREADS=1 python benchmarks/guided_search.py --seeds 5

Both search the same space and train the same instances (12 epochs of 1,000 showers). For every search seed the guided
search runs first; the random one then gets the number of configurations whose halving trains as nearly the same number
of epochs as possible, never fewer. The winners are compared by the criterion of 20 fresh instances each, which no
search ever saw and which are not counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import raysearch
from raysearch.records import Verdict
from raysearch.rules.halving import Halving

EPOCHS, CONFIRM, WARMUP = 12, 20, 3
SPACE: dict[str, Any] = {
    "conv1": {"low": 4, "high": 32, "log": True},
    "conv2": {"low": 4, "high": 32, "log": True},
    "pool2": [[2, 1], [4, 4]],
    "n_fc": [1, 2],
    "fc1": {"low": 4, "high": 64, "log": True},
    "fc2": {"low": 4, "high": 32, "log": True, "when": {"n_fc": 2}},
    "feature": [False, True],
    "activation": ["ReLU", "LeakyReLU", "SiLU"],
    "optimizer": ["AdamW", "NAdam"],
    "lr": {"low": 1e-4, "high": 3e-2, "log": True},
    "batch_size": [32, 64],
    "weight_decay": {"low": 1e-3, "high": 0.1, "log": True},
}


def search(seed: int, sampler: dict[str, Any], rule: dict[str, Any]) -> Verdict:
    """Carry one search out and return its verdict."""
    experiment = raysearch.Experiment.model_validate(
        {
            "name": "guided-search",
            "seed": seed,
            "workload": {
                "name": "calorimeter",
                "n_train": 1000,
                "n_validation": 1000,
                "n_test": 1000,
                "epochs": EPOCHS,
            },
            "space": SPACE,
            "constraints": {"n_parameters": 30000},
            "sampler": sampler,
            "criterion": "q3",
            "rule": rule,
            "race": {"confirm": CONFIRM},
            "execution": "local",
            "tracking": None,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        return raysearch.run(experiment, Path(folder) / "run").verdict


def spent(verdict: Verdict) -> int:
    """Return the epochs that the search itself trained, its winner's confirmation left out."""
    confirmed = verdict.confirmation.n_instances if verdict.confirmation else 0
    return verdict.n_epochs - EPOCHS * confirmed


def main() -> None:
    """Run both searches for every seed and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--configurations", type=int, default=32, help="of the guided search")
    parser.add_argument("--wave", type=int, default=8)
    options = parser.parse_args()
    print(
        "| seed | search | configurations | epochs | confirmed Q3 | median | seconds |\n|---|---|---|---|---|---|---|"
    )
    ratios = []
    for seed in range(options.seeds):
        guided_sampler = {"name": "tpe", "n_configurations": options.configurations, "wave": options.wave}
        found = {}
        start = time.perf_counter()
        found["TPE, top_two"] = search(seed, guided_sampler, {"name": "top_two", "certify": 8, "cap": 12})
        seconds = [time.perf_counter() - start]
        budget = spent(found["TPE, top_two"]) / EPOCHS
        n = next(n for n in range(2, 10_000) if Halving(WARMUP).plan(n)[0] >= budget)
        start = time.perf_counter()
        found["random, halving"] = search(
            seed, {"name": "random", "n_configurations": n}, {"name": "halving", "warmup": WARMUP}
        )
        seconds.append(time.perf_counter() - start)
        for (name, verdict), wall in zip(found.items(), seconds, strict=True):
            fresh = verdict.confirmation
            assert fresh is not None
            print(
                f"| {seed} | {name} | {verdict.n_configurations} | {spent(verdict)} | {fresh.q3:.4f} "
                f"| {fresh.median:.4f} | {wall:.0f} |",
                flush=True,
            )
        q3 = [verdict.confirmation.q3 for verdict in found.values() if verdict.confirmation]
        ratios.append(q3[0] / q3[1])
    print(f"\nconfirmed Q3, TPE with top_two over random with halving: median ratio {statistics.median(ratios):.3f}")
    print(f"({min(ratios):.3f} to {max(ratios):.3f}), better in {sum(r < 1 for r in ratios)} of {len(ratios)} seeds")


if __name__ == "__main__":
    main()
