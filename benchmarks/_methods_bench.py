"""What the four experiments of `methods.py` share: jobs, trained instances kept in memory, intervals, tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from raysearch import registry
from raysearch.records import Configuration, InstanceResult
from raysearch.training.measures import EvaluatedModel
from raysearch.training.measures._subjects import told

Array = NDArray[np.float64]
FRESH = 1_000_000
"""Seeds from here on chose nothing."""


@dataclass
class Job:
    """One workload with the parameters that its experiments start from; the same seeds are paired everywhere."""

    name: str
    workload: Any
    parameters: dict[str, Any]
    data: Any = None
    _kept: dict[tuple[str, int], InstanceResult] = field(default_factory=dict)

    def train(self, changes: Mapping[str, Any], seeds: Sequence[int]) -> list[InstanceResult]:
        """Return the instances with these seeds of the parameters with `changes`, trained once."""
        self.data = self.workload.prepare() if self.data is None else self.data
        configuration = Configuration.of({**self.parameters, **changes})
        self.workload.check(configuration.parameters)
        for seed in seeds:
            if (configuration.id, seed) not in self._kept:
                (result,) = self.workload.train(configuration, [seed], lambda *_: None, self.data)
                self._kept[configuration.id, seed] = result
        return [self._kept[configuration.id, seed] for seed in seeds]

    def subject(self, changes: Mapping[str, Any], result: InstanceResult, examples: str = "test") -> EvaluatedModel:
        """Return a trained instance, ready to be measured."""
        parameters = {**self.parameters, **changes}
        return self.workload.load_for_evaluation(parameters, result.weights, result.key.seed, self.data, examples)

    def told(self, changes: Mapping[str, Any], seeds: Sequence[int]) -> tuple[Array, Array]:
        """Return what instances say of the test examples, `(n_instances, n_examples, ...)`, and their targets."""
        subjects = [self.subject(changes, result) for result in self.train(changes, seeds)]
        return np.stack([told(subject) for subject in subjects]), np.asarray(subjects[0].targets)


def digits(vary: str = "weights", epochs: int = 20, **parameters: Any) -> Job:
    """Return the classification job: a perceptron on 300 handwritten digits, 600 to test."""
    settings = {"n_train": 300, "n_validation": 300, "n_test": 600, "epochs": epochs}
    workload = registry.load("workloads", "digits", vary=vary, **settings)
    own = {"hidden": [32], "optimizer": "AdamW", "lr": 0.01, "batch_size": 32, "weight_decay": 0.01}
    return Job("digits", workload, {**own, **parameters})


def calorimeter(vary: str = "weights", **parameters: Any) -> Job:
    """Return the regression job: the photon's energy from 1,000 simulated showers, 1,000 to test."""
    settings = {"n_train": 1000, "n_validation": 1000, "n_test": 1000, "epochs": 10}
    workload = registry.load("workloads", "calorimeter", vary=vary, **settings)
    own = {"conv1": 8, "conv2": 8, "pool2": [2, 1], "fc": [16], "feature": True, "activation": "PReLU"}
    own |= {"optimizer": "AdamW", "lr": 0.003, "batch_size": 32, "weight_decay": 0.01}
    return Job("calorimeter", workload, {**own, **parameters})


def test_losses(results: Sequence[InstanceResult]) -> Array:
    """Return test losses, +inf where an instance diverged."""
    return np.asarray([np.inf if result.test_loss is None else result.test_loss for result in results])


def bootstrap(statistic: Callable[..., float], *samples: Array, n: int = 4000) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic of samples that are resampled together, by instance."""
    rng = np.random.default_rng(0)
    size = len(samples[0])
    rows = rng.integers(0, size, (n, size))
    with np.errstate(all="ignore"):  # a resample may have no spread at all
        values = [statistic(*(sample[row] for sample in samples)) for row in rows]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def jackknife(statistic: Callable[[Array], float], size: int, n_groups: int = 10) -> tuple[float, float, float]:
    """Return a statistic of the instances `arange(size)` and its 95 % interval by leaving groups of them out.

    Right for statistics of pairs, where a bootstrap would compare instances with themselves.
    """
    whole = statistic(np.arange(size))
    groups = np.array_split(np.random.default_rng(0).permutation(size), min(n_groups, size))
    left = np.asarray([statistic(np.setdiff1d(np.arange(size), group)) for group in groups])
    n = len(left)
    error = np.sqrt((n - 1) / n * np.square(left - left.mean()).sum())
    reach = float(stats.t.ppf(0.975, n - 1) * error)
    return whole, whole - reach, whole + reach


def paired(one: Array, other: Array) -> str:
    """Return the mean difference of paired values with its 95 % t-interval, as text."""
    difference = one - other
    reach = stats.t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference))
    return f"{difference.mean():+.4f} ({difference.mean() - reach:+.4f} to {difference.mean() + reach:+.4f})"


def table(title: str, rows: Sequence[Mapping[str, Any]], note: str = "") -> None:
    """Print rows as Markdown."""
    print(f"\n### {title}\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(_shown(row.get(name, "")) for name in names) + " |")
    if note:
        print(f"\n{note}")
    sys.stdout.flush()


def timed(name: str, run: Callable[[], None]) -> None:
    """Run an experiment and print what it cost."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    print(f"\n{name}: {time.process_time() - cpu:.0f} s of CPU, {time.perf_counter() - wall:.0f} s of wall time")
    sys.stdout.flush()


def scaled(n: int, scale: float, least: int = 4) -> int:
    """Return a count of instances scaled down for a quick look."""
    return max(least, round(n * scale))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
