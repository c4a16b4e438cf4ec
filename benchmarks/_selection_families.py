"""Families of loss tables whose truth is known: what `benchmarks/selection.py` judges rules on.

Every replicate draws a fresh population and fresh losses from its own seed, so no rule can be tuned to one table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from raysearch import registry

Array = NDArray[np.float64]
DIGITS = Path(__file__).parent / "data" / "digits_instances.parquet"


@dataclass(frozen=True)
class Table:
    """One replicate: `losses` `(n_configurations, n_instances)`, +inf = diverged, and each row's true criterion.

    `parameters` holds the hyperparameters of each row, in the order of the rows, as `Configuration.parameters` has them
    (a parameter whose condition does not hold is missing); `()` in families where hyperparameters say nothing. A policy
    may know all of them from the start, and nothing of a row's losses before it has paid for them. `space`, where not
    empty, is the section of an experiment file that the rows come from: `raysearch.samplers.search_space.parse` reads
    it, and the order of values is that of the file. `curves` `(n_configurations, n_instances, n_epochs)`, where
    recorded, are the losses after each epoch; an epoch costs its share of a training.
    """

    losses: Array
    truth: Array
    parameters: Sequence[Mapping[str, Any]] = ()
    space: Mapping[str, Any] = field(default_factory=dict)
    curves: NDArray[np.float32] | None = None

    @property
    def has_structure(self) -> bool:
        """Whether a row's hyperparameters are known, so that its losses can be foretold from other rows'."""
        return len(self.parameters) == len(self.losses)

    def regret(self, row: int) -> float:
        """Return by how much (relative) the criterion of `row` is truly worse than the best."""
        return float(self.truth[row] / self.truth.min() - 1)


@dataclass(frozen=True)
class Family:
    """A kind of table: `draw(generator, n_instances)` makes one; `delta` is the relative loss nobody minds."""

    name: str
    criterion: str
    n_configurations: int
    draw: Callable[[np.random.Generator, int], Table]
    delta: float = 0.01
    n_instances: int = 400
    has_structure: bool = False
    """Whether hyperparameters of the rows are known, and say something of their losses."""

    def table(self, replicate: int, n_instances: int | None = None) -> Table:
        """Return the table of `replicate`; the same for every policy."""
        generator = np.random.default_rng([sum(self.name.encode()), replicate])
        return self.draw(generator, n_instances or self.n_instances)

    def measure(self) -> Callable[[Array], Array]:
        """Return the criterion that steers."""
        criterion: Callable[[Array], Array] = registry.load("criteria", self.criterion)
        return criterion


def _accuracies() -> Array:
    """Return 72 error rates spread as published for CIFAR-10: accuracy .868-.9035, .0019 between the two best."""
    rest = 0.9016 - (0.9016 - 0.868) * np.linspace(0, 1, 71) ** 1.15
    return 1 - np.concatenate([[0.9035], rest])


def _normal72(
    generator: np.random.Generator, n_instances: int, spread: float = 0.22, correlation: float = 0.0
) -> Table:
    """Published means; normal losses of standard deviation .0021 exp(spread z), paired with `correlation`."""
    means = generator.permutation(_accuracies())
    sigma = 0.0021 * np.exp(spread * generator.standard_normal(72))
    own = generator.standard_normal((72, n_instances))
    shared = generator.standard_normal(n_instances)
    noise = np.sqrt(1 - correlation) * own + np.sqrt(correlation) * shared
    return Table(means[:, None] + sigma[:, None] * noise, means)


def _noisy_rivals(generator: np.random.Generator, n_instances: int) -> Table:
    """Published means, but 11 close rivals of the best are four times as noisy."""
    means = _accuracies()
    sigma = 0.0021 * np.exp(0.22 * generator.standard_normal(72))
    sigma[1:12] *= 4
    order = generator.permutation(72)
    noise = generator.standard_normal((72, n_instances))
    return Table(means[order, None] + sigma[order, None] * noise, means[order])


def _ties(generator: np.random.Generator, n_instances: int) -> Table:
    """The six best configurations are exactly equal."""
    means = _accuracies()
    means[1:6] = means[0]
    means = generator.permutation(means)
    sigma = 0.0021 * np.exp(0.22 * generator.standard_normal(72))
    return Table(means[:, None] + sigma[:, None] * generator.standard_normal((72, n_instances)), means)


def _random72(generator: np.random.Generator, n_instances: int) -> Table:
    """Random means, as wide as the published ones: the best may be far ahead or nearly tied."""
    means = 0.115 + 0.0085 * generator.standard_normal(72)
    sigma = 0.0021 * np.exp(0.22 * generator.standard_normal(72))
    return Table(means[:, None] + sigma[:, None] * generator.standard_normal((72, n_instances)), means)


def _heavy_tails(generator: np.random.Generator, n_instances: int) -> Table:
    """Published means as medians; Student-t losses with 3 degrees of freedom."""
    medians = generator.permutation(_accuracies())
    sigma = 0.0021 * np.exp(0.22 * generator.standard_normal(72))
    return Table(medians[:, None] + sigma[:, None] * generator.standard_t(3, (72, n_instances)), medians)


@dataclass(frozen=True)
class Showers:
    """The parameters of calorimeter-like configurations: a right-skewed good mode, a bad mode, divergence."""

    level: Array
    width: Array
    bad: Array
    factor: Array
    diverged: Array
    skew: float = 0.7

    @classmethod
    def of(cls, generator: np.random.Generator, n: int) -> Showers:
        """Draw a population: a third is hopeless (the activations that fail), two in five have a bad mode."""
        level = 0.0225 * (1 + generator.gamma(1.5, 0.35, n))
        hopeless = generator.random(n) < 1 / 3
        level = np.where(hopeless, level * np.exp(generator.uniform(1, 3.5, n)), level)
        width = 0.01 * np.exp(0.4 * generator.standard_normal(n))
        bad = np.where(generator.random(n) < 0.4, generator.beta(0.8, 4.0, n), 0.0)
        factor = np.exp(generator.uniform(np.log(1.3), np.log(12), n))
        diverged = np.where(generator.random(n) < 0.1, generator.uniform(0, 0.3, n), 0.0)
        return cls(level, width, bad, factor, diverged)

    def draw(self, generator: np.random.Generator, n_instances: int) -> Array:
        """Return losses `(n, n_instances)`."""
        shape = (len(self.level), n_instances)
        tail = np.expm1(self.skew * generator.standard_normal(shape)) / self.skew
        good = self.level[:, None] * (1 + self.width[:, None] * tail)
        bad = self.level[:, None] * self.factor[:, None] * np.exp(0.3 * generator.standard_normal(shape))
        kind = generator.random(shape)
        losses = np.where(kind < self.bad[:, None], bad, good)
        return np.where(kind > 1 - self.diverged[:, None], np.inf, losses)

    def below(self, x: Array) -> Array:
        """Return the exact share of instances with a loss below `x` `(n,)`."""
        inner = 1 + self.skew * (x / self.level - 1) / self.width
        good = np.where(inner > 0, ndtr(np.log(np.maximum(inner, 1e-300)) / self.skew), 0.0)
        bad = ndtr(np.log(x / self.level / self.factor) / 0.3)
        return (1 - self.bad - self.diverged) * good + self.bad * bad

    def quantile(self, q: float) -> Array:
        """Return the exact `q`-quantile of every configuration by bisection (+inf where more than 1 - q diverge)."""
        low, high = self.level * 1e-3, self.level * 1e4
        for _ in range(100):
            middle = np.sqrt(low * high)
            above = self.below(middle) >= q
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.where(self.diverged >= 1 - q, np.inf, high)


def _calorimeter(generator: np.random.Generator, n_instances: int, n: int) -> Table:
    population = Showers.of(generator, n)
    return Table(population.draw(generator, n_instances), population.quantile(0.75))


def _digits(generator: np.random.Generator, n_instances: int) -> Table:
    """Recorded trainings: the race gets a random quarter of the instances, the truth comes from the others."""
    import pandas as pd

    frame = pd.read_parquet(DIGITS)
    losses = frame.pivot(index="configuration", columns="seed", values="loss").to_numpy(dtype=np.float64)
    columns = generator.permutation(losses.shape[1])
    quarter = losses.shape[1] // 4
    raced, held_out = columns[:quarter], columns[quarter:]
    if n_instances > quarter:  # few policies ask for more than there are; they get some again
        raced = np.concatenate([raced, generator.choice(raced, n_instances - quarter)])
    rows = generator.permutation(len(losses))
    truth = np.asarray(registry.load("criteria", "median")(losses[:, held_out]))
    return Table(losses[rows][:, raced[:n_instances]], truth[rows])


def _structured(generator: np.random.Generator, n_instances: int, calm: float = 1.0) -> Table:
    """The 6,912 with hyperparameters that say something: see `_selection_structured`."""
    import _selection_structured

    return _selection_structured.draw(generator, n_instances, calm)


def _recorded(generator: np.random.Generator, n_instances: int, name: str) -> Table:
    """Recorded trainings with their hyperparameters: the race gets its instances in random order.

    The truth comes from instances that no race asks for; those far from the best have none, their race's stand for it.
    """
    from raysearch.storage import tables

    table = tables.load(name)
    criterion = registry.load("criteria", table.experiment["criterion"])
    held_out = np.asarray(criterion(table.held_out))
    truth = np.where(np.isnan(held_out), criterion(table.race), held_out)
    columns = generator.permutation(table.n_race)
    if n_instances > table.n_race:  # few policies ask for more than there are; they get some again
        columns = np.concatenate([columns, generator.choice(columns, n_instances - table.n_race)])
    rows, columns = generator.permutation(len(truth)), columns[:n_instances]
    return Table(
        table.race[rows][:, columns],
        truth[rows],
        tuple(table.configurations[row].parameters for row in rows),
        table.experiment["space"],
        table.curves[rows][:, columns],
    )


def _of_recorded(name: str, n_configurations: int, n_instances: int) -> Family:
    """Return the family that shuffles a recorded table, judged by Q3 to within 2 %."""
    table = partial(_recorded, name=name)
    return Family(name, "q3", n_configurations, table, delta=0.02, n_instances=n_instances, has_structure=True)


FAMILIES = {
    family.name: family
    for family in (
        Family("cifar72", "mean", 72, _normal72),
        Family("cifar72_paired", "mean", 72, partial(_normal72, correlation=0.3)),
        Family("random72", "mean", 72, _random72),
        Family("unequal_variances", "mean", 72, partial(_normal72, spread=1.0)),
        Family("noisy_rivals", "mean", 72, _noisy_rivals),
        Family("ties", "mean", 72, _ties),
        Family("heavy_tails", "median", 72, _heavy_tails),
        Family("calo270", "q3", 270, partial(_calorimeter, n=270)),
        Family("calo6912", "q3", 6912, partial(_calorimeter, n=6912)),
        Family("calo6912_structured", "q3", 6912, _structured, has_structure=True),
        Family("calo6912_calm", "q3", 6912, partial(_structured, calm=0.4), has_structure=True),
        Family("digits", "median", 72, _digits, delta=0.02),
        _of_recorded("digits_1728", 1728, n_instances=40),
        _of_recorded("fashion_320", 320, n_instances=30),
    )
}
