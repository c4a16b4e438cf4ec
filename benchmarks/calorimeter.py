"""The simulated calorimeter against the published figures: speed, classical baselines, direction of the findings.

python benchmarks/calorimeter.py                      # speed and baselines: a minute on one core
python benchmarks/calorimeter.py --direction          # trains networks: about seven minutes on one free core
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import _baselines as baselines
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from raysearch import registry
from raysearch.records import Configuration
from raysearch.workloads._calorimeter.showers import Showers, simulate

PUBLISHED = {  # dataset B, by training sample; medians read off the paper's box plots, about +-1 %
    ("energy", "parametric"): {8000: 0.0238, 16000: 0.0239, 24000: 0.0239, 32000: 0.0239},
    ("energy", "XGBoost"): {8000: 0.0358, 16000: 0.0309, 24000: 0.0286, 32000: 0.0271},
    ("position", "parametric"): {8000: 0.461, 16000: 0.460, 24000: 0.460, 32000: 0.459},
    ("position", "XGBoost"): {8000: 0.334, 16000: 0.328, 24000: 0.323, 32000: 0.321},
}
MODEL_2 = {"conv1": 32, "conv2": 64, "pool2": [2, 1], "fc": [9], "feature": True, "activation": "ReLU"} | {
    "optimizer": "AdamW",
    "lr": 1e-3,
    "batch_size": 32,
    "weight_decay": 0.1,
}
console = Console(width=110)


def main() -> None:
    options = _options()
    if options.direction:
        direction(options.seeds, options.sizes or [2000, 8000], options.epochs)
    else:
        speed()
        classical(options.sizes or [8000, 16000, 32000], options.trees)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--direction", action="store_true", help="train Model 2 at each size, and with Sigmoid")
    parser.add_argument("--sizes", type=int, nargs="+", help="training samples")
    parser.add_argument("--seeds", type=int, default=10, help="instances at each size (seeds 0, 1, ...)")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--trees", type=int, default=300, help="of XGBoost; 0 leaves it out")
    return parser.parse_args()


def speed(n: int = 100_000) -> None:
    """Print how long `n` showers take on one core."""
    start, cpu = time.perf_counter(), time.process_time()
    showers = simulate(n, "B", np.random.default_rng(0))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    megabytes = showers.cells.nbytes / 1e6
    console.print(f"{n:,} showers of dataset B: {wall:.1f} s wall, {cpu:.1f} s CPU (goal < 30 s), {megabytes:.0f} MB")


def classical(sizes: list[int], n_trees: int) -> None:
    """Print the baselines' test losses on dataset B beside the published ones."""
    pool, test = (simulate(n, "B", np.random.default_rng(seed)) for seed, n in ((1, max(sizes)), (2, 20_000)))
    table = Table("target", "baseline", *(f"n = {size:,}" for size in sizes), title="Dataset B: here (published)")
    for (target, name), published in PUBLISHED.items():
        if name == "parametric" or n_trees:
            losses = [_baseline(target, name, pool, test, size, n_trees) for size in sizes]
            cells = [f"{loss:.4f} ({published.get(size, '-')})" for loss, size in zip(losses, sizes, strict=True)]
            table.add_row(f"{target} [{'RMSE(E)/E' if target == 'energy' else 'cm'}]".replace("[", r"\["), name, *cells)
    console.print(table)


def _baseline(target: str, name: str, pool: Showers, test: Showers, size: int, n_trees: int) -> float:
    fits: dict[tuple[str, str], Callable[..., baselines.Predictor]] = {
        ("energy", "parametric"): baselines.calibrated_sum,
        ("position", "parametric"): baselines.s_curve,
    }
    cells = pool.cells[:size]
    wanted, truth = (pool.energy_gev, test.energy_gev) if target == "energy" else (pool.x_cm, test.x_cm)
    if name == "parametric":
        predict = fits[target, name](cells, wanted[:size])
    else:
        predict = baselines.boosted_trees(cells, wanted[:size], target, n_trees)
    difference = predict(test.cells) - truth
    return float(np.sqrt(np.mean((difference / truth if target == "energy" else difference) ** 2)))


def direction(n_seeds: int, sizes: list[int], epochs: int) -> None:
    """Print the spread of Model 2's instances at each size, and what Sigmoid makes of it."""
    table = Table(
        "network", "n_train", "instances", "median", "Q1-Q3", "IQR", "std", "max", "s each", title="Test loss, B"
    )
    losses = {size: _row(table, "Model 2", MODEL_2, size, n_seeds, epochs) for size in sizes}
    sigmoid = MODEL_2 | {"activation": "Sigmoid"}
    bad = _row(table, "Model 2, Sigmoid", sigmoid, sizes[-1], min(n_seeds, 3), epochs)
    console.print(table)
    first, last = losses[sizes[0]], losses[sizes[-1]]
    for name, spread in (("IQR", _iqr), ("std", np.std)):
        low, high = _ratio_interval(first, last, spread)
        ratio = spread(last) / spread(first)
        console.print(f"{name} at {sizes[-1]:,} / at {sizes[0]:,}: {ratio:.2f}, 95 % bootstrap [{low:.2f}, {high:.2f}]")
    console.print(f"Sigmoid's median is {np.median(bad) / np.median(last):.1f} times that of ReLU")


def _row(table: Table, name: str, parameters: dict[str, object], size: int, n: int, epochs: int) -> NDArray[np.float64]:
    workload = registry.load("workloads", "calorimeter", n_train=size, epochs=epochs, n_pool=32_000, n_test=8000)
    data = workload.prepare()
    results = workload.train(Configuration.of(parameters), range(n), lambda epoch, loss: None, data)
    losses = np.array([np.inf if result.test_loss is None else result.test_loss for result in results])
    q1, median, q3 = np.quantile(losses, [0.25, 0.5, 0.75])
    numbers = [f"{value:.4f}" for value in (q3 - q1, losses.std(), losses.max())]
    seconds = np.mean([result.seconds for result in results])
    table.add_row(name, f"{size:,}", str(n), f"{median:.4f}", f"{q1:.4f}-{q3:.4f}", *numbers, f"{seconds:.0f}")
    return losses


def _iqr(losses: NDArray[np.float64]) -> np.float64:
    return np.float64(np.subtract(*np.quantile(losses, [0.75, 0.25])))


def _ratio_interval(
    first: NDArray[np.float64], last: NDArray[np.float64], spread: Callable[..., np.floating]
) -> tuple[float, float]:
    """Return the 95 % interval of `spread(last) / spread(first)` over 10,000 resamples."""
    generator = np.random.default_rng(0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample may hold one value only
        ratios = [
            spread(generator.choice(last, len(last))) / spread(generator.choice(first, len(first)))
            for _ in range(10_000)
        ]
    low, high = np.nanquantile(ratios, [0.025, 0.975], method="nearest")
    return float(low), float(high)


if __name__ == "__main__":
    main()
