"""Bookkeeping per no-op instance: plain ActorPool, plain Tune, raysearch without and with MLflow, in one run.

    python benchmarks/overhead.py --n 1000 --repeats 3
    python benchmarks/overhead.py --n 6400 --packs 1 8 32 64        driver CPU against the width of packs

Each way runs in turn on the same local Ray cluster of two slots, so that a noisy machine is noisy for all of them. The
table shows the median over the repeats; start-up of the actors is part of every figure.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ray
from ray import tune
from ray.util import ActorPool

import raysearch
from raysearch.execution.ray_settings import lean_settings
from raysearch.tracking.mlflow import Mlflow

SLOTS = 2


@ray.remote(num_cpus=1)
class _Worker:
    def train(self, number: int) -> float:
        return 0.0


class _NoOp(tune.Trainable):
    def setup(self, config: dict) -> None: ...

    def step(self) -> dict:
        return {"loss": 0.0, "done": True}

    def reset_config(self, new_config: dict) -> bool:
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None: ...


def actor_pool(n: int, folder: Path) -> None:
    """The floor: tasks on two actors, nothing kept."""
    workers = [_Worker.remote() for _ in range(SLOTS)]
    for _ in ActorPool(workers).map_unordered(lambda worker, number: worker.train.remote(number), range(n)):
        pass


def plain_tune(n: int, folder: Path) -> None:
    """Tune as lean as its settings allow: class Trainable, reused actors, no loggers, no snapshots."""
    with lean_settings(SLOTS):
        tune.Tuner(
            tune.with_resources(_NoOp, {"cpu": 1}),
            param_space={"x": tune.randint(0, 1000)},
            tune_config=tune.TuneConfig(num_samples=n, reuse_actors=True, trial_dirname_creator=lambda t: t.trial_id),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


def no_op(config: dict, seed: int) -> float:
    """An instance that does nothing."""
    return 0.0


def no_ops(config: dict, seeds: list[int]) -> list[float]:
    """Instances of one configuration that do nothing."""
    return [0.0] * len(seeds)


def _search(n: int, folder: Path, tracking: object, pack: int = 1) -> None:
    each = max(pack, 10)
    raysearch.search(
        no_op,
        train_many=no_ops,
        space={"x": list(range(n // each))},
        rule={"name": "exhaustive", "n_instances": each},
        execution={"name": "ray_tune", "pack": pack},
        confirm=0,
        run_dir=folder / "run",
        tracking=tracking,
        progress=False,
    )


def without_mlflow(n: int, folder: Path) -> None:
    """raysearch: race, fsynced journal, report."""
    _search(n, folder, None)


def with_mlflow(n: int, folder: Path) -> None:
    """raysearch with every instance in MLflow on SQLite."""
    _search(n, folder, Mlflow(uri=f"sqlite:///{folder}/mlflow.db"))


def packed(width: int) -> dict[str, Callable[[int, Path], None]]:
    """Return the ways of a search in packs of so many instances."""

    def plain(n: int, folder: Path) -> None:
        _search(n, folder, None, width)

    def tracked(n: int, folder: Path) -> None:
        _search(n, folder, Mlflow(uri=f"sqlite:///{folder}/mlflow.db"), width)

    return {f"packs of {width}, without MLflow": plain, f"packs of {width}, with MLflow": tracked}


WAYS: dict[str, Callable[[int, Path], None]] = {
    "plain ActorPool": actor_pool,
    "plain Tune, reused actors": plain_tune,
    "raysearch without MLflow": without_mlflow,
    "raysearch with MLflow": with_mlflow,
}


def measure(way: Callable[[int, Path], None], n: int) -> tuple[float, float]:
    """Return wall and driver-CPU milliseconds per instance."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        way(n, Path(folder))
        return (time.perf_counter() - wall) / n * 1e3, (time.process_time() - cpu) / n * 1e3


def main() -> None:
    """Measure all ways in turn, as often as asked, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="instances per way, a multiple of 10")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--packs", type=int, nargs="*", default=[], help="measure packs of these widths instead")
    options = parser.parse_args()
    ways = {name: way for width in options.packs for name, way in packed(width).items()} or WAYS
    logging.disable(logging.WARNING)
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    ray.init("local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    for way in ways.values():  # imports and first actors are nobody's bookkeeping
        measure(way, max(10, *options.packs) if options.packs else 10)
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            figures[name].append(measure(way, options.n))
    print(f"\nn = {options.n} no-op instances on {SLOTS} slots, median of {options.repeats} runs (lowest to highest)\n")
    first = next(iter(figures)) if options.packs else "plain Tune, reused actors"
    print(f"| way | wall ms per instance | driver CPU ms | wall against {first} |")
    print("|---|---|---|---|")
    for name, runs in figures.items():
        walls = [wall for wall, _ in runs]
        ratios = [wall / base for wall, (base, _) in zip(walls, figures[first], strict=True)]
        print(
            f"| {name} | {statistics.median(walls):.1f} ({min(walls):.1f} to {max(walls):.1f}) "
            f"| {statistics.median(cpu for _, cpu in runs):.1f} | {statistics.median(ratios):.2f} |"
        )


if __name__ == "__main__":
    main()
