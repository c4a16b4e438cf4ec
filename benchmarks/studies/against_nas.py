"""Study e: the selected models against models of an architecture search and against classical baselines.

    python benchmarks/studies/against_nas.py [--size quick|small|full]

Energy: Model 2, NAS 1, NAS 2, the calibrated sum and boosted trees. Position: Model 4, the S-curve and boosted trees.
Baselines are fitted to the very samples that the networks' instances learn.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _models
import numpy as np
from _frame import Array, Bench, main, values
from _numbers import estimate, ratio, row
from _page import Page, boxed

from raysearch.analysis import plots
from raysearch.records import Phase
from raysearch.registry import load
from raysearch.seeds import Seeds
from raysearch.workloads._sources import sources

sys.path.append(str(Path(__file__).parents[1]))
import _baselines as baselines

NAME = "against_nas"
NETWORKS = {"energy": ("Model 2", "NAS 1", "NAS 2"), "position": ("Model 4",)}
PUBLISHED = {
    ("parametric, energy", 8000): ".0238",
    ("parametric, energy", 32_000): ".0239",
    ("XGBoost, energy", 8000): ".0358",
    ("XGBoost, energy", 16_000): ".0309",
    ("XGBoost, energy", 32_000): ".0271",
    ("parametric, position", 8000): ".461 cm",
    ("XGBoost, position", 8000): ".334 cm",
    ("XGBoost, position", 32_000): ".321 cm",
    **_models.PUBLISHED,
}


@dataclass(frozen=True)
class Size:
    """How much is trained; `n_baselines` samples for each baseline."""

    targets: tuple[str, ...]
    n_train: tuple[int, ...]
    n_instances: int
    n_baselines: int
    epochs: int
    n_judging: int


SIZES = {
    "quick": Size(("energy",), (100,), 3, 3, 2, 300),
    "small": Size(("energy",), (1000, 4000), 40, 20, 20, 2000),
    "full": Size(("energy", "position"), (8000, 16_000, 32_000), 50, 20, 50, 4000),
}


def study(bench: Bench, size: Size) -> Page:
    losses = {}
    for target in size.targets:
        for n in size.n_train:
            for model in NETWORKS[target]:
                table = _models.trained(bench, model, n, size.epochs, size.n_instances, size.n_judging)
                losses[model, n] = values(table)
            losses |= {(f"{name}, {target}", n): own for name, own in _baselines(bench, target, n, size).items()}
    findings = []
    for n in size.n_train:
        for nas in ("NAS 1", "NAS 2"):
            spread = ratio(losses["Model 2", n], losses[nas, n], "iqr")
            findings.append(f"Model 2's IQR over that of {nas}, {n:,} examples: {spread}, {spread.against(1)}.")
        for name in ("parametric, energy", "XGBoost, energy"):
            level = estimate(_medians, [losses["Model 2", n], losses[name, n]])
            findings.append(f"Model 2's median over that of {name}, {n:,} examples: {level}, {level.tells(1)}.")
    groups = {f"{name}, {n:,}": own for (name, n), own in losses.items() if not _is_position(name)}
    colors = [plots.PALETTE[0 if name.startswith("Model") else 1 if name.startswith("NAS") else 2] for name in groups]
    figure = boxed(groups, "test loss, RMSE(E)/E", "Selected model, NAS models, baselines", colors)
    assert figure is not None
    rows = [
        {"what": name, "examples": f"{n:,}", **row(own), "published": PUBLISHED.get((name, n), "")}
        for (name, n), own in losses.items()
    ]
    return Page(
        "Selected against NAS models and baselines",
        "Do the selected models vary less than those of an architecture search, and are they better than no network?",
        "Selected models vary less than NAS ones (8,000 examples: Model 2 .0253, quartiles .0238 to .0284; NAS 1 "
        ".0243, .0231 to .0272; 32,000: .0229, .0227 to .0233, against .0233, .0228 to .0247).",
        figure,
        findings,
        {"Test loss, dataset B (energy: RMSE(E)/E; position: cm)": rows},
        [f"{size.epochs} epochs; the paper has 50. Our XGBoost predicts a factor on the sum of the cells."],
    )


def _baselines(bench: Bench, target: str, n_train: int, size: Size) -> dict[str, Array]:
    """Return test losses of the classical baselines, each fitted to the samples of the networks' instances.

    They are kept in a file, one sample a line, and are not fitted again.
    """
    record = bench.runs / bench.size / NAME / f"baselines-{target}-{n_train}-{size.n_judging}.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    kept = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    if len(kept) < size.n_baselines:
        workload = load("workloads", **_models.showers(target, n_train, size.epochs, size.n_judging))
        data = workload.prepare()
        for index in range(len(kept), size.n_baselines):
            sampler = sources(Seeds(0).seed(Phase.RACE, index), workload.vary)[1]
            rows = sampler.choice(len(data["pool_targets"]), n_train, replace=False)
            kept.append(_fitted(data, rows, target, index))
            with record.open("a") as file:
                file.write(json.dumps(kept[-1]) + "\n")
    return {name: np.asarray([one[name] for one in kept[: size.n_baselines]]) for name in kept[0]}


def _fitted(data: dict[str, Any], rows: Any, target: str, seed: int) -> dict[str, float]:
    """Return the test loss of each baseline that is fitted to some rows of the pool."""
    cells, wanted = data["pool_cells"][rows], data["pool_targets"][rows]
    fit = baselines.calibrated_sum if target == "energy" else baselines.s_curve
    predictors = {
        "parametric": fit(cells, wanted),
        "XGBoost": baselines.boosted_trees(cells, wanted, target, seed=seed),
    }
    found = {}
    for name, predict in predictors.items():
        difference = predict(data["test_cells"]) - data["test_targets"]
        relative = difference / data["test_targets"] if target == "energy" else difference
        found[name] = float(np.sqrt(np.mean(np.square(relative))))
    return found


def _medians(one: Array, other: Array) -> Array:
    return np.median(one, axis=-1) / np.median(other, axis=-1)


def _is_position(name: str) -> bool:
    return name.endswith("position") or _models.TARGETS.get(name) == "position"


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
