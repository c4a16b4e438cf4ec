"""Study c: which activations and optimizers are worth a search, with the sum of the cells and without?

    python benchmarks/studies/preselection.py [--size quick|small|full]

The convolutions of Models 1 and 2 with every activation and optimizer, few instances of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import _models
import numpy as np
from _frame import Array, Bench, main, matrix
from _numbers import Estimate, estimate, row
from _page import Page, stretch

from raysearch.analysis import plots

NAME = "preselection"
_ACTIVATIONS = ("ReLU", "LeakyReLU", "PReLU", "ELU", "SiLU", "Sigmoid", "Tanh")
_OPTIMIZERS = ("AdamW", "NAdam", "Adam", "Adamax", "RAdam", "RMSprop", "SGD")


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    activations: tuple[str, ...]
    optimizers: tuple[str, ...]
    n_instances: int
    n_train: int
    epochs: int
    n_judging: int


SIZES = {
    "quick": Size(("ReLU", "Sigmoid"), ("AdamW",), 3, 100, 2, 300),
    "small": Size(("ReLU", "PReLU", "Sigmoid", "Tanh"), ("AdamW", "NAdam", "SGD"), 10, 400, 12, 1000),
    "full": Size(_ACTIVATIONS, _OPTIMIZERS, 20, 8000, 50, 4000),
}


def study(bench: Bench, size: Size) -> Page:
    own = {**_models.fixed(_models.MODELS["Model 2"]), "feature": [False, True]}
    space = {**own, "activation": list(size.activations), "optimizer": list(size.optimizers)}
    workload = _models.showers("energy", size.n_train, size.epochs, size.n_judging)
    losses, parameters = matrix(bench.instances("grid", workload, space, size.n_instances))
    names = [(one["feature"], one["activation"], one["optimizer"]) for one in parameters]
    by_name = dict(zip(names, losses, strict=True))
    rows = [
        {"sum of the cells": "with" if name[0] else "without", "activation": name[1], "optimizer": name[2], **row(one)}
        for name, one in sorted(by_name.items(), key=lambda item: np.median(item[1]))
    ]
    findings = []
    for feature in (False, True):
        where = "with the sum" if feature else "without it"
        best = {
            activation: min((np.median(by_name[feature, activation, o]), o) for o in size.optimizers)[1]
            for activation in size.activations
        }
        for bad in ("Sigmoid", "Tanh"):
            if bad in best:
                found = _medians(by_name[feature, bad, best[bad]], by_name[feature, "ReLU", best["ReLU"]])
                findings.append(
                    f"{bad}'s median over ReLU's, each with its best optimizer, {where}: {found}; worse: "
                    f"{found.against(1, below=False)}."
                )
    return Page(
        "Preselection of activations and optimizers",
        "Which activations and optimizers fail, and does the sum of the cells save them?",
        "Sigmoid and Tanh are off the scale; ReLU (energy) and PReLU (position), AdamW and NAdam survive.",
        _figure(by_name, size),
        findings,
        {"Test loss, RMSE(E)/E, best first": rows},
        [
            f"Model 2's learning rate and regularization for all, {size.n_train:,} examples, {size.epochs} epochs: an "
            "optimizer that wants another learning rate, as SGD does, is not judged by this.",
        ],
    )


def _medians(one: Array, other: Array) -> Estimate:
    return estimate(lambda a, b: np.median(a, axis=-1) / np.median(b, axis=-1), [one, other], paired=True)


@plots.styled
def _figure(by_name: dict[tuple[bool, str, str], Array], size: Size) -> plots.Figure:
    figure, panels = plots.canvas(10.0, 1.6 + 0.3 * len(size.activations) * len(size.optimizers), columns=2)
    whole = np.concatenate(list(by_name.values()))
    for axes, feature in zip(panels, (False, True), strict=True):
        wanted = [(a, o) for a in size.activations for o in size.optimizers]
        groups = {name: by_name[feature, *name] for name in wanted}
        colors = [plots.PALETTE[size.activations.index(activation)] for activation, _ in groups]
        plots.boxes(axes, list(groups.values()), colors, points=True)
        axes.set_yticks(range(len(groups)), [f"{a}, {o}" for a, o in groups])
        stretch(axes, whole)
        axes.set_xlabel("test loss, RMSE(E)/E")
        plots.title(
            axes, f"{'With' if feature else 'Without'} the sum of the cells", 40, f"n = {size.n_instances} each"
        )
    return figure


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
