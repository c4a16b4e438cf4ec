"""A small numpy simulation of a halving race, as the journal would hand it to the analysis."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raysearch.analysis.results import Results
from raysearch.criteria.q3 import Q3
from raysearch.criteria.summary import summarize
from raysearch.records import Configuration, Verdict
from raysearch.rules import Elimination


def pytest_collection_modifyitems(items):
    """Let every test of this folder look at figures."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("figures")


SPACE = {
    "activation": ["ReLU", "PReLU", "Sigmoid", "Tanh"],
    "optimizer": ["AdamW", "NAdam", "SGD"],
    "learning_rate": [1e-4, 3e-4, 1e-3, 1e-2],
    "filters": [16, 32, 64],
    "batch_size": [32, 64],
    "weight_decay": [0.0, 0.01, 0.1],
    "hidden": [[9], [64, 9]],
    "dropout": [0.0, 0.1],
    "pooling": ["max", "mean"],
    "epochs": [50],
}


def configurations(n: int) -> list[Configuration]:
    """Every `len/n`-th point of the grid, so that all values occur."""
    grid = [dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())]
    rows = np.unique(np.linspace(0, len(grid) - 1, n).astype(int))
    return [Configuration.of(grid[row]) for row in rows]


def population(pool: list[Configuration], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Level and spread of each configuration: effects of its parameters, and a bit of its own."""
    effect = {
        "activation": {"ReLU": 0.0, "PReLU": 0.03, "Sigmoid": 1.9, "Tanh": 0.5},
        "optimizer": {"AdamW": 0.0, "NAdam": 0.02, "SGD": 0.35},
        "learning_rate": {1e-4: 0.15, 3e-4: 0.05, 1e-3: 0.0, 1e-2: 0.4},
        "filters": {16: 0.12, 32: 0.03, 64: 0.0},
    }
    level = np.array([sum(effect[name][c.parameters[name]] for name in effect) for c in pool])
    level = 0.0225 * np.exp(level + 0.05 * rng.standard_normal(len(pool)))
    spread = level * 0.06 * np.exp(0.5 * rng.standard_normal(len(pool)) + 3 * (level > 0.03) * (level - 0.03))
    return level, spread


def draw(level: np.ndarray, spread: np.ndarray, diverge: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Losses `(n_configurations, n)`: right-skewed, and some +inf."""
    losses = level[:, None] + spread[:, None] * (rng.gamma(2.0, 0.7, (len(level), n)) - 0.9)
    return np.where(rng.random(losses.shape) < diverge[:, None], np.inf, np.maximum(losses, 0.004))


def curve(loss: float, rng: np.random.Generator, n_epochs: int = 30) -> list[float]:
    if not math.isfinite(loss):
        return [0.2, 0.4, math.inf]
    epochs = np.arange(1, n_epochs + 1)
    noise = np.exp(0.04 * rng.standard_normal(n_epochs))
    values = (loss + 6 * loss * np.exp(-epochs / 4)) * noise
    return [*values[:-1].tolist(), loss]


def row(c: Configuration, s: int, phase: str, loss: float, rng: np.random.Generator) -> dict:
    bad = not math.isfinite(loss)
    failed = bad and s % 3 == 0
    return {
        "configuration_id": c.id,
        "parameters": json.dumps(dict(c.parameters)),
        **{f"p.{name}": str(value) for name, value in c.parameters.items()},
        "seed": 1000 * (phase == "confirmation") + s,
        "instance": s,
        "phase": phase,
        "status": "FAILED" if failed else "DIVERGED" if bad else "COMPLETE",
        "loss": loss,
        "test_loss": loss * 1.01 if not bad else math.nan,
        "epochs": 3 if bad else 30,
        "seconds": float(rng.gamma(4, 3)),
        "node": f"worker-{s % 2}",
        "attempt": 3 if failed else 1,
        "error": 'Traceback (most recent call last):\n  File "train.py", line 7\nRuntimeError: <b>out of memory</b>'
        if failed
        else "",
        "curve": curve(loss, rng),
    }


def simulate(
    n: int = 72, warmup: int = 3, confirm: int = 40, diverge: float = 0.02, seed: int = 7, finish: bool = True
) -> Results:
    """Race `n` configurations by Algorithm 1 under Q3; `finish=False` breaks off in the second cut's round."""
    rng = np.random.default_rng(seed)
    pool = configurations(n)
    level, spread = population(pool, rng)
    sigmoid = np.array([c.parameters["activation"] == "Sigmoid" for c in pool])
    chance = np.where(sigmoid, max(0.1, diverge), diverge) if 0 < diverge < 1 else np.full(len(pool), diverge)
    n_rounds = warmup + int(np.log2(len(pool))) if len(pool) > 1 else 1
    losses = draw(level, spread, chance, n_rounds, rng)
    rows, cuts, rounds = [], [], []
    survivors = np.arange(len(pool))
    for s in range(n_rounds):
        rows += [row(pool[i], s, "race", losses[i, s], rng) for i in survivors]
        values = np.atleast_1d(Q3()(losses[survivors, : s + 1]))
        rounds += [(s + 1, pool[i].id, float(v)) for i, v in zip(survivors, values, strict=True)]
        if not finish and s == warmup:
            return results(rows, cuts, rounds, None)
        if s + 1 >= warmup and len(survivors) > 1:
            order = np.argsort(values, kind="stable")
            keep = max(len(survivors) // 2, 1)
            cutoff = float(values[order[keep - 1]])
            out = np.sort(order[keep:])
            ids, own = tuple(pool[survivors[i]].id for i in out), tuple(float(values[i]) for i in out)
            cuts.append(Elimination(s + 1, cutoff, s + 1, ids, own))
            survivors = np.sort(survivors[order[:keep]])
        if len(survivors) == 1:
            break
    best = int(survivors[0])
    fresh = draw(level[[best]], spread[[best]], chance[[best]], confirm, rng)[0]
    rows += [row(pool[best], s, "confirmation", loss, rng) for s, loss in enumerate(fresh)]
    verdict = Verdict(
        winner=pool[best],
        criterion="q3",
        race=summarize(losses[best, : s + 1], Q3()),
        n_configurations=len(pool),
        n_instances=len(rows),
        n_exhaustive=len(pool) * 50,
        confirmation=summarize(fresh, Q3()) if confirm else None,
        test_median=float(np.median(fresh[np.isfinite(fresh)]) * 1.01) if np.isfinite(fresh).any() else None,
        indistinguishable=(pool[best].id, *[id_ for cut in cuts for id_ in cut.configurations][-2:]),
    )
    return results(rows, cuts, rounds, verdict)


def results(rows: list, cuts: list, rounds: list, verdict: Verdict | None) -> Results:
    experiment = {
        "name": "calorimeter-energy",
        "seed": 7,
        "criterion": "q3",
        "rule": {"name": "halving", "warmup": 3},
        "workload": {"name": "calorimeter", "dataset": "B"},
        "space": {name: list(values) for name, values in SPACE.items()},
    }
    return Results(pd.DataFrame(rows), cuts, rounds, verdict, experiment, Q3())


@pytest.fixture(scope="session")
def race():
    """Return the maker of simulated races."""
    return simulate
