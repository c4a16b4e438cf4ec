"""Experiments 3 and 4: synaptic filtering over epochs, selective backpropagation, and what foretells robustness."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from _methods_bench import FRESH, Array, Job, bootstrap, calorimeter, digits, paired, scaled, table
from scipy import stats

from raysearch.records import InstanceResult
from raysearch.registry import load, names
from raysearch.training.measures._filters import GLOBAL, KINDS
from raysearch.training.measures.adversarial import Adversarial
from raysearch.training.measures.synaptic_filtering import SCORES, SynapticFiltering

_LAYERS = {"hidden": [32, 32]}


def synaptic(scale: float, jobs: Sequence[str]) -> None:
    """Scores over epochs, and selective backpropagation against full training."""
    if "digits" in jobs:
        _over_epochs(scaled(10, scale))
        _selective(scaled(40, scale))


def _over_epochs(n: int) -> None:
    rows = []
    for epochs in (1, 2, 5, 10, 20, 40):
        job = digits(**_LAYERS)
        job.workload = dataclasses.replace(job.workload, epochs=epochs)
        subjects = [job.subject({}, result) for result in job.train({}, range(n))]
        measure = SynapticFiltering()
        found = measure.summarize([measure(subject) for subject in subjects])
        error = np.mean([Adversarial()(subject).numbers["fgsm_error"] for subject in subjects])
        of = {(row["layer"], row["filter"], row["score"]): row for row in found.tables["layers"]}
        row: dict[str, Any] = {"epochs": epochs, "accuracy under FGSM": 1.0 - float(error)}
        for score, kind in itertools.product(SCORES, KINDS):
            one = of[GLOBAL, kind, f"S_{score}"]
            row[f"S_{score}, {kind}"] = f"{one['mean']:+.3f} {one['is']}"
        rows.append(row)
    note = f"Perceptron 32-32 on digits, all layers filtered together, {n} instances; tolerance twice their std."
    table("3a. Synaptic scores over epochs", rows, note)


def _selective(n: int) -> None:
    job, measure = digits(**_LAYERS), Adversarial()
    seeds = range(FRESH, FRESH + n)
    variants: dict[str, dict[str, Any]] = {"full training": {}}
    for score, k in itertools.product(("difference", "clean"), (5, 15)):
        variants[f"S_{score} < 0 frozen from epoch {k}"] = {"freeze_from": k, "freeze_score": score}
    results: dict[str, list[InstanceResult]] = {}
    numbers: dict[str, list[dict[str, float]]] = {}
    for name, changes in variants.items():
        results[name] = job.train(changes, seeds)
        numbers[name] = [dict(measure(job.subject(changes, r)).numbers) for r in results[name]]
    rows = []
    for name, own in numbers.items():
        row: dict[str, Any] = {"training": name}
        same = [a.curve == b.curve for a, b in zip(results[name], results["full training"], strict=True)]
        row["instances with a frozen layer"] = n - sum(same)
        for key, label in (("fgsm_error", "FGSM"), ("pgd_error", "PGD"), ("clean_error", "clean")):
            values, full = (1 - np.asarray([o[key] for o in one]) for one in (own, numbers["full training"]))
            row[f"accuracy, {label}"] = float(values.mean())
            if name != "full training":
                row[f"less full training's, {label} (95 %)"] = paired(values, full)
        rows.append(row)
    note = (
        f"Perceptron 32-32 on digits, 20 epochs, {n} seeds, each compared with itself; 256 test examples, box of 0.25 "
        "std of the inputs. The published finding: selective backpropagation raises the adversarial accuracy."
    )
    table("3b. Selective backpropagation", rows, note)


def forecast(scale: float, jobs: Sequence[str]) -> None:
    """Rank correlation of one instance's measures with the criterion over 20 others."""
    space: dict[str, list[Any]] = {
        "hidden": [[16], [32], [32, 32]], "activation": ["ReLU", "Tanh"], "dropout": [0.0, 0.2],
        "optimizer": ["AdamW", "SGD"], "lr": [0.003, 0.01, 0.03], "batch_size": [16, 64], "weight_decay": [0.0, 0.1],
    }  # fmt: skip
    if "digits" in jobs:
        _forecast(digits("both"), _drawn(space, scaled(60, scale)), scaled(20, scale))
    space = {
        "conv1": [4, 8], "fc": [[9], [16], [16, 9]], "feature": [True, False], "activation": ["ReLU", "PReLU"],
        "optimizer": ["AdamW", "NAdam"], "lr": [0.001, 0.003, 0.01], "batch_size": [32, 64],
    }  # fmt: skip
    if "calorimeter" in jobs:
        _forecast(calorimeter("both"), _drawn(space, scaled(12, scale)), scaled(10, scale))


def _drawn(space: dict[str, list[Any]], n: int) -> list[dict[str, Any]]:
    rows = list(itertools.product(*space.values()))
    order = np.random.default_rng(0).permutation(len(rows))[:n]
    return [dict(zip(space, rows[i], strict=True)) for i in order]


def _forecast(job: Job, configurations: list[dict[str, Any]], n_instances: int) -> None:
    criteria = {name: load("criteria", name) for name in ("median", "q3", "std")}
    losses = np.asarray([[r.loss for r in job.train(c, range(n_instances))] for c in configurations])
    measured = [_measured(job, changes) for changes in configurations]
    usable = np.asarray([row is not None for row in measured])
    with np.errstate(invalid="ignore"):
        values = {name: np.asarray(criterion(losses[usable]), dtype=float) for name, criterion in criteria.items()}
    values["std"] = np.where(np.isfinite(losses[usable]).all(axis=1), values["std"], np.inf)
    kept = [row for row in measured if row is not None]
    rows = []
    for name in kept[0]:
        column = np.asarray([row[name] for row in kept])
        row: dict[str, Any] = {"of one instance": name}
        for criterion, value in values.items():
            row[f"with {criterion} over {n_instances}"] = _correlation(column, value)
        rows.append(row)
    missing = " (the others' measured instance diverged)" if len(kept) < len(configurations) else ""
    note = (
        f"Spearman's rho over {len(kept)} of {len(configurations)} configurations{missing}, 95 % bootstrap over "
        "configurations; one instance of a fresh seed, on validation examples."
    )
    table(f"4a. What foretells robustness, {job.name}", rows, note)
    depth = np.asarray([row["loss on its training sample"] for row in kept])
    width = np.asarray([row["curvature"] for row in kept])
    table(
        f"4b. Deep, wide and robust, {job.name}",
        [
            {
                "pair": "training loss and curvature (positive: the deeper, the wider)",
                "rho": _correlation(depth, width),
            },
            {
                "pair": "training loss and std (positive: the deeper, the more robust)",
                "rho": _correlation(depth, values["std"]),
            },
            {
                "pair": "curvature and std (positive: the wider, the more robust)",
                "rho": _correlation(width, values["std"]),
            },
        ],
        f"n = {len(kept)} configurations; curvature is the top eigenvalue, small where the minimum is wide.",
    )


def _measured(job: Job, changes: dict[str, Any]) -> dict[str, float] | None:
    """Return the main number of every measure of one instance with a fresh seed; None if it diverged."""
    (result,) = job.train(changes, [FRESH])
    if not np.isfinite(result.loss):
        return None
    subject = job.subject(changes, result, "validation")
    found: dict[str, float] = {
        "its loss": result.loss,
        "local_instability (epochs)": result.metrics["epoch_instability"],
    }
    for name in names("measures"):
        measure = load("measures", name)
        if measure.over == "instance":
            numbers = measure(subject).numbers
            found[name] = numbers[measure.main]
            if name == "generalization_gap":
                found["loss on its training sample"] = numbers["taught_loss"]
    return found


def _correlation(one: Array, other: Array) -> str:
    def rho(a: Array, b: Array) -> float:
        return float(stats.spearmanr(a, b).statistic) if len(np.unique(a)) > 1 and len(np.unique(b)) > 1 else np.nan

    low, high = bootstrap(rho, one, other, n=2000)
    return f"{rho(one, other):+.2f} ({low:+.2f} to {high:+.2f})"
