"""Which model foretells best what a configuration's criterion is, from single instances of others?

    python benchmarks/surrogates.py   a simulated space: effects of one, two and three, and each one's own
    python benchmarks/surrogates.py --family NAME   a family of selection.py with hyperparameters

Each model learns from one instance of `n` random configurations. Printed: Spearman's rho with the truth among all
others and among the best fifth of them, the share of the 20 best among the 5 % that it names first, CPU seconds.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _selection_families import FAMILIES, Table
from numpy.typing import NDArray
from scipy.stats import spearmanr

from raysearch import registry
from raysearch.experiment import experiment
from raysearch.rules._encoding import Encoding
from raysearch.rules._targets import Learnt

Array = NDArray[np.float64]
SPACE = Path(__file__).parent.parent / "search_spaces" / "calorimeter_energy.yaml"


def simulated(seed: int) -> tuple[Table, Sequence[Mapping[str, Any]]]:
    """Return a table of the 6,912 calorimeter configurations: no smooth shapes, triples, and 5 % of each one's own."""
    search = experiment.from_file(SPACE)
    parameters = [dict(one.parameters) for one in search.build_space(search.load("workload")).enumerate()]
    generator, n = np.random.default_rng(seed), len(parameters)
    levels = np.array([[repr(value) for value in one.values()] for one in parameters])
    codes = np.array([np.unique(column, return_inverse=True)[1] for column in levels.T])

    def component(scale: float, which: Sequence[int]) -> Array:
        code = np.unique(codes[list(which)], axis=1, return_inverse=True)[1].ravel()
        values = scale * generator.standard_normal(code.max() + 1)
        return np.asarray((values - values.mean())[code])

    weight = generator.gamma(0.7, 1.0, len(codes))
    weight /= weight.max()
    level = sum(component(0.35 * weight[i], [i]) for i in range(len(codes)))
    for i, j in itertools.combinations(range(len(codes)), 2):
        level = level + component(0.18 * np.sqrt(weight[i] * weight[j]) * generator.gamma(0.5, 1), [i, j])
    for _ in range(4):
        level = level + component(0.05, generator.choice(len(codes), 3, replace=False))
    level = np.asarray(level) + 0.05 * generator.standard_normal(n)
    spread = 0.08 * np.exp(component(0.25, [int(generator.integers(len(codes)))]) + 0.25 * generator.standard_normal(n))
    noise = np.expm1(0.5 * generator.standard_normal((n, 4))) / 0.5
    quartile = np.expm1(0.5 * 0.6744898) / 0.5
    return Table(np.exp(level[:, None] + spread[:, None] * noise), np.exp(level + spread * quartile)), parameters


def _library(make: Callable[[], Any], *, pairs: bool) -> Callable[[Encoding, NDArray[np.intp], Array], Array]:
    def foretell(encoding: Encoding, rows: NDArray[np.intp], losses: Array) -> Array:
        columns = np.hstack([encoding.main, encoding.pairs]) if pairs else encoding.main
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = make().fit(columns[rows], np.log(losses))
        return np.asarray(model.predict(columns))

    return foretell


def _surface(encoding: Encoding, rows: NDArray[np.intp], losses: Array) -> Array:
    known = np.full((len(encoding), 1), np.nan)
    known[rows, 0] = losses
    learnt = Learnt.of(encoding, known, registry.load("criteria", "q3"), 100)
    assert learnt is not None
    return learnt.expected


def models() -> dict[str, Callable[[Encoding, NDArray[np.intp], Array], Array]]:
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
    from sklearn.linear_model import BayesianRidge

    kernel = ConstantKernel(1.0) * RBF(3.0) + ConstantKernel(1.0) * RBF(10.0) + WhiteKernel(0.1)
    forest = {"n_estimators": 200, "min_samples_leaf": 2, "random_state": 0}
    process = {"kernel": kernel, "normalize_y": True, "random_state": 0}
    return {
        "surface of the rule": _surface,
        "Gaussian process": _library(lambda: GaussianProcessRegressor(**process), pairs=False),
        "Bayesian ridge on pairs": _library(BayesianRidge, pairs=True),
        "extremely random trees": _library(lambda: ExtraTreesRegressor(max_features=0.7, **forest), pairs=False),
        "random forest": _library(lambda: RandomForestRegressor(max_features=0.5, **forest), pairs=False),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=FAMILIES, help="of selection.py, with hyperparameters")
    parser.add_argument("--trained", type=int, nargs="+", default=[200, 400])
    parser.add_argument("--replicates", type=int, default=5)
    options = parser.parse_args()
    found: dict[tuple[int, str], list[tuple[float, ...]]] = defaultdict(list)
    for replicate in range(options.replicates):
        if options.family:
            table = FAMILIES[options.family].table(replicate)
            parameters: Sequence[Mapping[str, Any]] = getattr(table, "parameters", ())
        else:
            table, parameters = simulated(replicate)
        if len(parameters) != len(table.losses):
            raise SystemExit(f"{options.family} has no hyperparameters to learn from")
        encoding = Encoding.of(parameters)
        for n in options.trained:
            order = np.random.default_rng([replicate, n]).permutation(len(parameters))
            rows, others = np.sort(order[:n]), np.sort(order[n:])
            best = others[np.argsort(table.truth[others])]
            losses = np.minimum(table.losses[rows, 0], np.nanmax(table.losses[np.isfinite(table.losses)]))
            for name, foretell in models().items():
                start = time.process_time()
                told = foretell(encoding, rows, losses)
                seconds = time.process_time() - start
                fifth, named = best[: len(best) // 5], others[np.argsort(told[others])[: len(others) // 20]]
                rho = [spearmanr(told[some], table.truth[some])[0] for some in (others, fifth)]
                found[n, name].append((*rho, float(np.isin(best[:20], named).mean()), seconds))
    print("| trained | model | rho | rho in the best fifth | 20 best among the first 5 % | CPU s |")
    print("|---|---|---|---|---|---|")
    for (n, name), values in found.items():
        rho, fifth_, share, seconds = np.mean(values, axis=0)
        print(f"| {n} | {name} | {rho:.3f} | {fifth_:.3f} | {share:.2f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
