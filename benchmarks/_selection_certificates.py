"""Are the certificates of `top_two` true? Every family by every criterion, skewed noise and its tails above all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from _selection_families import FAMILIES, Array, Table
from _selection_policies import drive

from raysearch import registry
from raysearch.workloads.synthetic import Synthetic

CRITERIA = ("median", "mean", "q3", "q3_plus_iqr", "cvar", "max", "std")
DELTA, CONFIDENCE, CAP = 0.01, 0.95, 100
N_TRUTH = 20_000
"""Draws behind the truth of a configuration; a max or cvar of all of them is that of the whole law."""


@dataclass(frozen=True)
class Claim:
    """What one race claimed: `right` None where it claimed nothing."""

    family: str
    criterion: str
    right: bool | None
    n_instances: int


def _skewed(generator: np.random.Generator, n_instances: int, widths: tuple[float, float] = (0.03, 0.03)) -> Table:
    """Six configurations 3 % apart with the noise that synthetic has by default: g = .5, h = .1."""
    levels = 1.0 + 0.03 * np.arange(6)
    sigma = np.where(np.arange(6) % 2, widths[1], widths[0])
    order = generator.permutation(6)
    noise = Synthetic()._transform(generator.standard_normal((6, n_instances)))
    return Table(levels[order, None] + sigma[order, None] * noise, levels[order])


def _normal6(generator: np.random.Generator, n_instances: int) -> Table:
    """The same with normal noise."""
    levels = generator.permutation(1.0 + 0.03 * np.arange(6))
    return Table(levels[:, None] + 0.03 * generator.standard_normal((6, n_instances)), levels)


DRAWS: dict[str, Callable[[np.random.Generator, int], Table]] = {
    "normal6": _normal6,
    "skewed6": _skewed,
    "skewed6, two widths": partial(_skewed, widths=(0.03, 0.09)),
    **{name: family.draw for name, family in FAMILIES.items() if family.n_configurations < 300 and name != "digits"},
}
"""Families whose population comes before its losses, so that more of the same can be drawn; recorded ones cannot."""


def claim(task: tuple[str, str, int]) -> Claim:
    """Let `top_two` decide one table of a family by a criterion, and hold its claim against the truth."""
    name, criterion_name, replicate = task
    criterion = registry.load("criteria", criterion_name)
    seed = [sum(name.encode()), replicate]
    raced = DRAWS[name](np.random.default_rng(seed), CAP).losses
    rule = registry.load("rules", "top_two", delta=DELTA, confidence=CONFIDENCE, cap=CAP, budget=20 * len(raced))
    verdict, n = drive(rule, Table(raced, raced[:, 0]), criterion)
    if not verdict.certified:
        return Claim(name, criterion_name, None, n)
    truth = _truth(name, seed, criterion)
    bar = truth.min() + DELTA * abs(truth.min())
    return Claim(name, criterion_name, bool(truth[verdict.leader] <= bar), n)


def _truth(name: str, seed: list[int], criterion: Callable[[Array], Array]) -> Array:
    return np.asarray(criterion(DRAWS[name](np.random.default_rng(seed), N_TRUTH).losses))


def print_certificates(claims: list[Claim]) -> None:
    """Print, for each family and criterion, how many races claimed and how many of the claims were right."""
    print("\n### Certificates: claimed .95, the share that was right (claims of races; mean instances)\n")
    print("| family | " + " | ".join(CRITERIA) + " |")
    print("|---" * (1 + len(CRITERIA)) + "|")
    missed = []
    for name in DRAWS:
        cells = []
        for criterion in CRITERIA:
            group = [one for one in claims if (one.family, one.criterion) == (name, criterion)]
            given = [one for one in group if one.right is not None]
            n = np.mean([one.n_instances for one in group])
            if not given:
                cells.append(f"none ({n:.0f})")
                continue
            right = float(np.mean([bool(one.right) for one in given]))
            cells.append(f"{right:.3f} ({len(given)} of {len(group)}; {n:.0f})")
            if right < 0.93:
                missed.append(f"{name} by {criterion}: {right:.3f}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\nBelow .93: " + ("; ".join(missed) if missed else "none") + ".")
