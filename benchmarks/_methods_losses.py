"""Experiments 1 and 2: do training losses make instances agree?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _methods_bench import FRESH, Array, Job, bootstrap, calorimeter, digits, jackknife, scaled, table, test_losses
from scipy import stats

from raysearch.registry import load
from raysearch.training.measures.local_instability import LocalInstability, ensembles

N_ENSEMBLE = 5
_GRID: dict[str, dict[str, tuple[float, ...]]] = {
    "digits": {"loss_alpha": (0.0, 0.3, 0.6, 0.9), "loss_beta": (0.0, 0.3, 1.0, 3.0)},
    # the variance of residuals is in GeV squared, the task loss is relative: beta is small
    "calorimeter": {"loss_alpha": (0.0, 0.3, 0.9), "loss_beta": (0.0, 0.003, 0.01)},
}


def clf(scale: float, jobs: Sequence[str]) -> None:
    """CLF against the plain loss: race for the least std, then fresh seeds."""
    if "digits" in jobs:
        _clf(digits(), scaled(12, scale, 12), scaled(40, scale))
    if "calorimeter" in jobs:
        _clf(calorimeter(), scaled(12, scale, 12), scaled(20, scale))


def _clf(job: Job, n_race: int, n_fresh: int) -> None:
    grid = _GRID[job.name]
    configurations: list[dict[str, Any]] = [
        {"loss": "clf", "loss_alpha": alpha, "loss_beta": beta}
        for alpha in grid["loss_alpha"]
        for beta in grid["loss_beta"]
    ]
    losses = np.asarray([[r.loss for r in job.train(c, range(n_race))] for c in configurations])
    by_std = configurations[_race(losses, "std")]
    by_q3_plus_iqr = configurations[_race(losses, "q3_plus_iqr")]
    level = losses[0].mean() + losses[0].std(ddof=1) / np.sqrt(n_race)  # the first is the plain loss: alpha = beta = 0
    allowed = np.flatnonzero(losses.mean(axis=1) <= level)
    no_worse = configurations[allowed[np.argmin(losses[allowed].std(axis=1, ddof=1))]]
    chosen = {
        "plain": {},
        "clf, alpha = beta = 0.1": {"loss": "clf"} | ({"loss_beta": 0.001} if job.name == "calorimeter" else {}),
        "clf, raced by std": by_std,
        "clf, raced by q3_plus_iqr": by_q3_plus_iqr,
        "clf, least std at no loss of the mean": no_worse,
    }
    seeds = range(FRESH, FRESH + n_fresh)
    results = {name: job.train(changes, seeds) for name, changes in chosen.items()}
    plain = test_losses(results["plain"])
    rows = []
    for name, own in results.items():
        loss = test_losses(own)
        row: dict[str, Any] = {"training loss": name, "alpha": chosen[name].get("loss_alpha", "")}
        row |= {"beta": chosen[name].get("loss_beta", ""), "test loss, mean": loss.mean(), "std": loss.std(ddof=1)}
        low, high = bootstrap(lambda a, b: a.std(ddof=1) / b.std(ddof=1), loss, plain)
        row["std over plain's (95 %)"] = f"{loss.std(ddof=1) / plain.std(ddof=1):.2f} ({low:.2f} to {high:.2f})"
        low, high = bootstrap(lambda a, b: a.mean() / b.mean(), loss, plain)
        row["mean over plain's (95 %)"] = f"{loss.mean() / plain.mean():.3f} ({low:.3f} to {high:.3f})"
        if name != "plain":
            row["Levene p"] = float(stats.levene(loss, plain).pvalue)
        if "test_accuracy" in own[0].metrics:
            accuracy = np.asarray([r.metrics["test_accuracy"] for r in own])
            row |= {"accuracy": f"{accuracy.mean():.4f} ± {accuracy.std(ddof=1):.4f}"}
            other = np.asarray([r.metrics["test_accuracy"] for r in results["plain"]])
            low, high = bootstrap(lambda a, b: a.std(ddof=1) / b.std(ddof=1), accuracy, other)
            row["accuracy's std over plain's (95 %)"] = f"{accuracy.std() / other.std():.2f} ({low:.2f} to {high:.2f})"
        rows.append(row)
    note = (
        f"{len(configurations)} pairs of alpha and beta, halving with warm-up 5 on {n_race} instances each; the table: "
        f"{n_fresh} fresh seeds each, test examples; instances differ in {job.workload.vary}; paired bootstrap."
    )
    table(f"1. CLF on {job.name}", rows, note)


def _race(losses: Array, criterion: str) -> int:
    """Return the row that wins Algorithm 1 on a matrix of losses."""
    rule, statistic = load("rules", "halving", warmup=5), load("criteria", criterion)
    seen = np.full(losses.shape, np.nan)
    while True:
        decision = rule.decide(seen, np.zeros(len(losses), dtype=int), statistic)
        if decision.verdict is not None:
            return int(decision.verdict.leader)
        for row in decision.train:
            column = int(np.count_nonzero(~np.isnan(seen[row])))
            seen[row, column] = losses[row, column]


def instability(scale: float, jobs: Sequence[str]) -> None:
    """Label entropy and churn, or the std by example, and the share of an ensemble's gain."""
    classes = {
        "label smoothing 0.1": {"loss": "label_smoothing"},
        "tgtss, tau 1": {"loss": "tgtss", "loss_tau": 1.0},
        "tgtss, tau 2": {"loss": "tgtss", "loss_tau": 2.0},
        "confidence penalty 0.1": {"loss": "confidence_penalty"},
        "clf, alpha 0.3, beta 1": {"loss": "clf", "loss_alpha": 0.3, "loss_beta": 1.0},
        "ema of the weights": {"average": "ema", "average_start": 0.5},
    }
    numbers = {
        "label smoothing 0.1": {"loss": "label_smoothing"},
        "tgtss": {"loss": "tgtss"},
        "clf, alpha 0.3, beta 0.003": {"loss": "clf", "loss_alpha": 0.3, "loss_beta": 0.003},
        "ema of the weights": {"average": "ema", "average_start": 0.5},
    }
    teachers = {
        "label smoothing 0.1": {"loss": "label_smoothing"},
        "tgtss, tau 1, own teachers": {"loss": "tgtss", "loss_tau": 1.0},
        "tgtss, tau 1, one teacher": {"loss": "tgtss", "loss_tau": 1.0, "loss_teacher_seed": 0},
    }
    if "digits" in jobs:
        for vary in ("weights", "both"):
            _instability(digits(vary), classes, scaled(20, scale))
    if "longer" in jobs:
        _instability(digits("weights", epochs=60), teachers, scaled(20, scale))
    if "calorimeter" in jobs:
        _instability(calorimeter(), numbers, scaled(10, scale))


def _instability(job: Job, methods: Mapping[str, dict[str, Any]], n: int) -> None:
    plain, targets = job.told({}, range(n * N_ENSEMBLE))
    outputs = {"plain": plain[:n], f"ensemble of {N_ENSEMBLE}": ensembles(plain, N_ENSEMBLE)}
    outputs |= {name: job.told(changes, range(n))[0] for name, changes in methods.items()}
    measure = LocalInstability(n_worst=0)
    of = {name: _cached(measure, values, targets) for name, values in outputs.items()}
    reference = f"ensemble of {N_ENSEMBLE}"
    rows = []
    for name in outputs:
        found = of[name](np.arange(n))
        row: dict[str, Any] = {"method": name}
        quantities = ("instability", "churn") if "churn" in found else ("instability",)
        for quantity in quantities:
            value, low, high = jackknife(lambda rows_, m=name, q=quantity: of[m](rows_)[q], n)
            row[quantity if len(quantities) > 1 else "std by example"] = f"{value:.4f} ({low:.4f} to {high:.4f})"
            if name not in ("plain", reference):

                def share(chosen: Array, m: str = name, q: str = quantity) -> float:
                    before = of["plain"](chosen)[q]
                    return (before - of[m](chosen)[q]) / (before - of[reference](chosen)[q])

                value, low, high = jackknife(share, n)
                row[f"share of the ensemble's gain in {quantity}"] = f"{value:.0%} ({low:.0%} to {high:.0%})"
        if "error" in found:
            row |= {"unstable examples": f"{found['unstable_share']:.1%}", "mean error": f"{found['error']:.2%}"}
        else:
            row["rms relative error"] = float(np.sqrt(np.mean(np.square(outputs[name] / targets - 1))))
        rows.append(row)
    note = (
        f"{n} instances of each method ({n * N_ENSEMBLE} plain ones in the ensembles), {len(targets)} test examples, "
        f"instances differ in {job.workload.vary}; 95 % intervals by a grouped jackknife over seeds."
    )
    table(
        f"2. Local instability on {job.name}, {job.workload.epochs} epochs, {job.workload.vary} differing", rows, note
    )


def _cached(measure: LocalInstability, outputs: Array, targets: Array) -> Any:
    known: dict[bytes, Mapping[str, float]] = {}

    def of(rows: Array) -> Mapping[str, float]:
        key = rows.tobytes()
        if key not in known:
            known[key] = measure(outputs[rows], targets).numbers
        return known[key]

    return of
