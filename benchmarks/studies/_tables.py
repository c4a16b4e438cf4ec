"""Tables of losses that several studies judge rules on: instances of every configuration, some of them held out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _frame import ROOT, Array, Bench, matrix, metric
from _models import showers

from raysearch.experiment.experiment import from_file
from raysearch.storage import tables

sys.path.append(str(Path(__file__).parents[1]))  # _selection_policies, which drives a rule over a table
DATA = ROOT / "benchmarks" / "data"


@dataclass(frozen=True)
class Table:
    """Recorded instances `(n_configurations, n_instances)`; the first `n_search` columns are for searches.

    The others, which no search sees, are the truth.
    """

    name: str
    losses: Array
    n_search: int
    tests: Array | None = None
    curves: Array | None = None
    parameters: tuple[dict[str, Any], ...] = ()
    metrics: pd.DataFrame | None = None
    judging: tuple[Array, ...] = ()
    """Of each row, where rows have different numbers of them."""

    @property
    def seen(self) -> Array:
        """What searches draw from."""
        return self.losses[:, : self.n_search]

    @property
    def held_out(self) -> Array:
        """What judges: test losses where they were recorded."""
        return (self.losses if self.tests is None else self.tests)[:, self.n_search :]

    def truth(self, criterion: Any) -> Array:
        """Return a criterion of what judges, `(n_configurations,)`."""
        if self.judging:
            return np.asarray([float(criterion(losses)) for losses in self.judging])
        return np.asarray(criterion(self.held_out), dtype=float)

    def metric(self, name: str) -> Array:
        """Return a metric by configuration and instance."""
        assert self.metrics is not None
        return metric(self.metrics, name)


def resnet72(bench: Bench, n_instances: int, n_search: int) -> Table:
    """Return the 72 ResNets on Fashion-MNIST as search_spaces has them, trained now or before."""
    search = from_file(ROOT / "search_spaces" / "fashion_mnist_resnet72.yaml")
    table = bench.instances("resnet72", search.workload, search.space, n_instances, study="tables")
    return Table("72 ResNets on Fashion-MNIST", matrix(table, "loss")[0], n_search)


def digits72(n_search: int) -> Table:
    """Return the 72 perceptrons on digits that benchmarks/record_digits.py has recorded, 960 instances each."""
    table = pd.read_parquet(DATA / "digits_instances.parquet")
    losses = table.pivot(index="configuration", columns="seed", values="loss").to_numpy(dtype=float)
    return Table("72 perceptrons on 400 digits (benchmarks/data)", losses, n_search)


def fashion320(best: bool = False) -> Table:
    """Return the 320 image networks of benchmarks/data, 30 instances each, or of them the `best` 20 by Q3.

    The best 20 are judged by 100 others, which no search sees; the rest, which are worse by more than a tenth, by the
    very 30.
    """
    few = "the best 20 of " if best else ""
    return _judged("fashion_320", f"{few}320 networks on 500 images of Fashion-MNIST (benchmarks/data)", best)


def small_resnet72() -> Table:
    """Return the 72 small ResNets of benchmarks/data, 20 instances each, judged by 40 others, which no search sees."""
    return _judged("fashion_mnist_resnet72", "72 ResNets on 400 images of Fashion-MNIST at 7 x 7 (benchmarks/data)")


def _judged(table: str, name: str, best: bool = False) -> Table:
    """Return a table of benchmarks/data whose best rows have instances that no search sees; these alone if `best`."""
    frame = pd.read_parquet(DATA / f"{table}.parquet")
    race, others = (
        own.pivot(index="configuration_id", columns="instance", values="loss")
        for _, own in frame.groupby(frame["phase"] != "race")
    )
    kept = race.loc[others.index] if best else race
    judging = [(others if one in others.index else race).loc[one].to_numpy(dtype=float) for one in kept.index]
    return Table(name, kept.to_numpy(dtype=float), race.shape[1], judging=tuple(judging))


@dataclass(frozen=True)
class Size:
    """Of a study of recorded jobs: which, their race's instances and those held out, and how many searches play."""

    jobs: tuple[str, ...]
    n_search: int
    n_held_out: int
    n_searches: int


@dataclass(frozen=True)
class Job:
    """What is recorded of one of the jobs: a workload and a space."""

    title: str
    unit: str
    workload: dict[str, Any]
    space: dict[str, Any]


_RECIPE = {"optimizer": ["AdamW"], "batch_size": [32], "weight_decay": [0.01]}


def jobs(size: str) -> dict[str, Job]:
    """Return the jobs of a size: showers, images, a table of numbers."""
    few, full = size == "quick", size == "full"
    n_images, image_epochs = (10_000, 15) if full else (200, 2) if few else (1000, 5)
    images = {"name": "images", "downsample": 2, "loss": "error", "n_train": n_images, "epochs": image_epochs}
    images |= {"n_validation": n_images // 2, "n_test": 2000 if full else n_images}
    perceptrons = {
        "network": ["perceptron"],
        "hidden": [[16], [128]] if few else [[16], [64], [128], [64, 32]],
        "dropout": [0.0] if few else [0.0, 0.3],
        "activation": ["ReLU"] if few else ["ReLU", "Tanh"],
        "lr": [0.001, 0.03] if few else [0.001, 0.003, 0.01, 0.03],
    }
    networks = {
        "conv1": [8],
        "conv2": [8, 16] if full else [8],
        "pool2": [[2, 1], [4, 4]] if full else [[4, 4]],
        "fc": [[9]] if few else [[9], [32, 9]] if not full else [[9], [32, 9], [64, 9], [64, 32, 9]],
        "feature": [True] if few else [False, True],
        "activation": ["ReLU"],
        "lr": [0.001, 0.01] if few else [0.001, 0.003, 0.01] if full else [0.001, 0.003, 0.01, 0.03],
    }
    n_showers, epochs = (8000, 30) if full else (100, 2) if few else (400, 10)
    tabular = {"name": "module", "module": "_tabular.build", "data": "_tabular.data", "epochs": 3 if few else 30}
    tabular_space = {"width": [4, 16] if few else [4, 16, 64], "depth": [1] if few else [1, 2]}
    tabular_space |= {"dropout": [0.0] if few else [0.0, 0.2], "lr": [0.01, 0.1] if few else [0.003, 0.01, 0.03, 0.1]}
    return {
        "fashion": Job("Fashion-MNIST, perceptrons", "error", images, {**perceptrons, **_RECIPE}),
        "showers": Job(
            "showers, energy", "RMSE(E)/E", showers("energy", n_showers, epochs, 1000), {**networks, **_RECIPE}
        ),
        "tabular": Job("breast cancer, perceptrons", "cross entropy, nats", tabular, {**tabular_space, **_RECIPE}),
    }


def kept_file(name: str) -> Path:
    """Return where benchmarks/record_payoff.py keeps the instances of a job of size small."""
    return DATA / f"payoff_{name}.parquet"


def kept(bench: Bench, name: str, n_search: int, n_held_out: int) -> Table:
    """Return the instances of a job's whole grid from benchmarks/data where they are kept there, else trained ones."""
    path, job = kept_file(name), jobs(bench.size)[name]
    if bench.size != "small" or not path.is_file():
        return recorded(bench, name, n_search, n_held_out)
    told = tables.load(str(path)).experiment
    if (told["workload"], told["space"]) != (job.workload, job.space):
        raise SystemExit(f"{path} holds another workload or space: make it again with benchmarks/record_payoff.py")
    return _shaped(pd.read_parquet(path), job.title, n_search)


def recorded(bench: Bench, name: str, n_search: int, n_held_out: int) -> Table:
    """Return the instances of a job's whole grid, trained now or before."""
    job = jobs(bench.size)[name]
    table = bench.instances(name, job.workload, job.space, n_search + n_held_out, study="tables")
    return _shaped(table, job.title, n_search)


def _shaped(table: pd.DataFrame, title: str, n_search: int) -> Table:
    losses, parameters = matrix(table, "loss")
    tests, _ = matrix(table, "test_loss")
    longest = max(len(curve) for curve in table["curve"])
    whole = table.assign(whole=[[*curve, *[np.inf] * (longest - len(curve))] for curve in table["curve"]])
    wide = whole.pivot(index="configuration_id", columns="instance", values="whole")
    curves = np.asarray([[np.asarray(cell, dtype=float) for cell in row] for row in wide.to_numpy()])
    return Table(title, losses, n_search, tests, curves, tuple(parameters), table)
