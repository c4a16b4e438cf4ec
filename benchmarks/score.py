"""What an instance's score does: the last epoch's loss, the mean of the last five, the best one, averaged weights.

    OMP_NUM_THREADS=1 python benchmarks/score.py

Configurations drawn at random train the same instances each way. "sd": of log loss over the instances of one
configuration, root mean square over configurations. "instances": (sd / sd of last)^2, how many give the mean of log
losses the error that one `last` gives it. "rho": rank correlation of one instance's score with the mean log test loss
of the same configuration's other instances, mean over seeds. "test loss": of the weights that are kept, over those of
`last`: geometric mean of the ratios, instance by instance, with its standard error over configurations.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from raysearch import registry
from raysearch.records import Configuration

WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "last": ({}, {}),
    "mean_last_5": ({"score": "mean_last_5"}, {}),
    "best": ({"score": "best"}, {}),
    "last, swa": ({}, {"average": "swa"}),
    "last, ema": ({}, {"average": "ema"}),
}
JOBS: dict[str, tuple[dict[str, Any], dict[str, list[Any]]]] = {
    "digits": (
        {"epochs": 20, "n_train": 400, "n_validation": 600, "n_test": 700},
        {
            "hidden": [[32], [64], [64, 32]],
            "activation": ["ReLU", "Tanh"],
            "dropout": [0.0, 0.2],
            "optimizer": ["AdamW", "SGD"],
            "lr": [0.003, 0.01, 0.03],
            "batch_size": [16, 32, 64],
        },
    ),
    "calorimeter": (
        {"epochs": 24, "n_train": 1000, "n_validation": 1000, "n_test": 1000},
        {
            "conv1": [8, 16],
            "conv2": [0, 16],
            "pool2": [[2, 1]],
            "fc": [[9], [32, 9]],
            "feature": [False, True],
            "activation": ["ReLU", "LeakyReLU"],
            "optimizer": ["AdamW", "NAdam"],
            "lr": [0.001, 0.003, 0.01],
            "batch_size": [32, 64],
            "weight_decay": [0.001, 0.01, 0.1],
        },
    ),
}
Array = NDArray[np.float64]


def draw(space: dict[str, list[Any]], n: int) -> list[dict[str, Any]]:
    """Return `n` configurations of a space, drawn independently."""
    generator = np.random.default_rng(1)
    return [{name: values[generator.integers(len(values))] for name, values in space.items()} for _ in range(n)]


def train(job: str, way: str, configurations: list[dict[str, Any]], n_seeds: int) -> tuple[Array, Array]:
    """Return log losses and log test losses, `(n_configurations, n_seeds)`."""
    settings, recipe = WAYS[way]
    workload = registry.load("workloads", job, **JOBS[job][0], **settings)
    data, found = workload.prepare(), []
    for parameters in configurations:
        configuration = Configuration.of({**parameters, **recipe})
        results = workload.train(configuration, range(n_seeds), lambda *_: None, data)
        found.append([(result.loss, result.test_loss or np.inf) for result in results])
    logs = np.log(np.asarray(found))
    return logs[:, :, 0], logs[:, :, 1]


def rho(scores: Array, tests: Array) -> float:
    """Return how well one instance ranks configurations by the test losses of their other instances."""
    n = scores.shape[1]
    others = [np.delete(tests, seed, axis=1).mean(axis=1) for seed in range(n)]
    return float(np.mean([stats.spearmanr(scores[:, seed], others[seed]).statistic for seed in range(n)]))


def main() -> None:
    """Print one table for both jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", choices=JOBS, action="append", help="a job, instead of all")
    arguments = parser.parse_args()
    print("| job | score | sd of log loss | instances | rho | test loss over last's |\n|---|---|---|---|---|---|")
    for job in arguments.only or JOBS:
        configurations = draw(JOBS[job][1], arguments.configurations)
        noise, reference = 0.0, np.zeros(0)
        for way in WAYS:
            scores, tests = train(job, way, configurations, arguments.seeds)
            sd = float(np.sqrt(scores.var(axis=1, ddof=1).mean()))
            if way == "last":
                noise, reference = sd, tests
            ratios = (tests - reference).mean(axis=1)
            error = ratios.std(ddof=1) / len(ratios) ** 0.5
            print(
                f"| {job} | {way} | {sd:.3f} | {(sd / noise) ** 2:.2f} | {rho(scores, tests):.2f} "
                f"| {np.exp(ratios.mean()):.3f} +- {error:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
