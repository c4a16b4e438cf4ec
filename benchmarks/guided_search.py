"""Who finds the better network for the same epochs, end to end on real trainings of the calorimeter job?

    python benchmarks/guided_search.py --size small --into small.jsonl    goes on where it was ended
    python benchmarks/guided_search.py --size quick --seeds 1             does it run?

For every search seed TPE with `top_two` searches first; what it trains is the budget of the others, in instances of
equal epochs. `surrogate` with `top_two` may spend it on any of the grid's configurations, and random search with
`halving` gets the number of configurations that trains as nearly as much as possible, never less. Each winner trains
on the same fresh seeds, which no search ever saw and which are not counted; by these it is judged.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.stats import ttest_1samp, wilcoxon

import raysearch
from raysearch.experiment import experiment as experiments
from raysearch.rules.halving import Halving

WARMUP = 3
PAPER = Path(__file__).parent.parent / "search_spaces" / "calorimeter_energy.yaml"
RANGES: dict[str, Any] = {
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
N_RANGES = 1000
"""Random configurations of the ranges that `surrogate` chooses from; of the paper's grid it knows all."""
GUIDED, SURROGATE, RANDOM = "TPE, top_two", "surrogate, top_two", "random, halving"


@dataclass(frozen=True)
class Size:
    """How much each search trains: `n_configurations` are those of TPE, in waves; all settings of `surrogate`."""

    n_train: int
    n_judging: int
    epochs: int
    n_configurations: int
    wave: int
    confirm: int
    surrogate: dict[str, int]

    @property
    def workload(self) -> dict[str, Any]:
        """The section of the workload."""
        examples = {"n_train": self.n_train, "n_validation": self.n_judging, "n_test": self.n_judging}
        return {"name": "calorimeter", **examples, "epochs": self.epochs}


SIZES = {
    "quick": Size(60, 60, 2, 12, 6, 4, {"start": 8, "batch": 4, "explore": 16, "finalists": 2}),
    "brief": Size(200, 200, 5, 24, 8, 30, {"start": 24, "batch": 8, "explore": 48, "finalists": 4}),
    "small": Size(500, 500, 8, 24, 8, 30, {"start": 24, "batch": 8, "explore": 48, "finalists": 4}),
    "full": Size(1000, 1000, 24, 64, 16, 100, {"start": 64, "batch": 16, "explore": 160, "finalists": 8}),
}
CERTIFY = {"certify": 8, "cap": 12}
"""Of `top_two`, as a rule of its own and for the finalists of `surrogate`."""

Found = dict[str, Any]


def search(size: Size, space: str, seed: int, sampler: Any, rule: dict[str, Any]) -> Found:
    """Carry one search out and return what it found."""
    paper = experiments.from_file(PAPER)
    experiment = raysearch.Experiment.model_validate(
        {
            "name": "guided-search",
            "seed": seed,
            "workload": size.workload,
            "space": paper.space if space == "paper" else RANGES,
            "constraints": paper.constraints,
            "sampler": sampler,
            "criterion": "q3",
            "rule": rule,
            "race": {"confirm": size.confirm},
            "execution": {"name": "local", "pack": 16},
            "tracking": None,
        }
    )
    wall, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        verdict = raysearch.run(experiment, Path(folder) / "run").verdict
    fresh = verdict.confirmation
    assert fresh is not None
    return {
        "configurations": verdict.n_configurations,
        "epochs": verdict.n_epochs - size.epochs * fresh.n_instances,
        "q3": fresh.q3,
        "median": fresh.median,
        "winner": dict(verdict.winner.parameters),
        "certified": bool(verdict.certified),
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
    }


def searches(size: Size, space: str, seed: int, known: dict[str, Found]) -> dict[str, Found]:
    """Return the three searches of a seed, `known` ones first; each is complete before it is there."""
    if GUIDED not in known:
        sampler = {"name": "tpe", "n_configurations": size.n_configurations, "wave": size.wave}
        return {GUIDED: search(size, space, seed, sampler, {"name": "top_two", **CERTIFY})}
    budget = -(-known[GUIDED]["epochs"] // size.epochs)
    if SURROGATE not in known:
        pool = "grid" if space == "paper" else {"name": "random", "n_configurations": N_RANGES}
        rule = {"name": "surrogate", "budget": budget, **CERTIFY, **size.surrogate}
        return {SURROGATE: search(size, space, seed, pool, rule)}
    if RANDOM not in known:
        n = next(n for n in itertools.count(2) if Halving(WARMUP).plan(n)[0] >= budget)
        pool = {"name": "random", "n_configurations": n}
        return {RANDOM: search(size, space, seed, pool, {"name": "halving", "warmup": WARMUP})}
    return {}


def compare(found: dict[int, dict[str, Found]]) -> None:
    """Print the ratios of confirmed Q3, paired by search seed, with 95 % intervals of their geometric means."""
    whole = [one for one in found.values() if len(one) == 3]
    if len(whole) < 2:
        return
    print(
        f"\n| confirmed Q3 over {len(whole)} search seeds | geometric mean of ratios (95 %) | median | better in | "
        "Wilcoxon p |\n|---|---|---|---|---|"
    )
    for one, other in ((SURROGATE, GUIDED), (SURROGATE, RANDOM), (GUIDED, RANDOM)):
        logs = np.log([seed[one]["q3"] / seed[other]["q3"] for seed in whole])
        low, high = np.exp(ttest_1samp(logs, 0).confidence_interval())
        numbers = f"{np.exp(logs.mean()):.3f} ({low:.3f} to {high:.3f}) | {np.exp(np.median(logs)):.3f}"
        p = wilcoxon(logs).pvalue if logs.any() else 1.0
        print(f"| {one} / {other} | {numbers} | {(logs < 0).sum()} of {len(logs)} | {p:.3f} |")
    for name in (GUIDED, SURROGATE, RANDOM):
        epochs, cpu = (statistics.mean(seed[name][key] for seed in whole) for key in ("epochs", "cpu"))
        q3 = statistics.median(seed[name]["q3"] for seed in whole)
        print(f"\n{name}: {epochs:.0f} epochs and {cpu:.0f} s of CPU a search, confirmed Q3 {q3:.4f} in the median")


def main() -> None:
    """Run the searches of every seed that are not in the file yet, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--space", choices=("paper", "ranges"), default="paper", help="grid of 6,912, or ranges")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="search seed")
    parser.add_argument("--into", type=Path, metavar="FILE", help="of JSON lines, one search each, to go on from")
    options = parser.parse_args()
    size = SIZES[options.size]
    same = {"size": options.size, "space": options.space}
    found: dict[int, dict[str, Found]] = defaultdict(dict)
    for line in options.into.read_text().splitlines() if options.into and options.into.exists() else ():
        seed, name, settings, one = json.loads(line)
        if settings == same:
            found[seed][name] = one
    print("| seed | search | configurations | epochs | confirmed Q3 | median | CPU s |\n|---|---|---|---|---|---|---|")
    for seed in range(options.first, options.first + options.seeds):
        while fresh := searches(size, options.space, seed, found[seed]):
            found[seed] |= fresh
            if options.into:
                with options.into.open("a") as file:
                    file.writelines(json.dumps([seed, name, same, one]) + "\n" for name, one in fresh.items())
        for name, one in found[seed].items():
            numbers = f"{one['configurations']:,} | {one['epochs']} | {one['q3']:.4f} | {one['median']:.4f}"
            print(f"| {seed} | {name} | {numbers} | {one['cpu']:.0f} |", flush=True)
    compare(found)


if __name__ == "__main__":
    main()
