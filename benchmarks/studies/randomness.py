"""Study b: what makes instances differ, their weights or their sample?

    python benchmarks/studies/randomness.py [--size quick|small|full]

One configuration, three searches: seeds change the initial weights and the order of batches, the training sample, or
both. The full size takes Model 1 on showers, as the paper does; small takes a perceptron on Fashion-MNIST.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import _models
from _frame import Bench, main, values
from _numbers import ratio, row
from _page import Page, boxed

from raysearch.analysis import plots

NAME = "randomness"


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    job: str
    n_train: int
    n_instances: int
    epochs: int
    n_judging: int


SIZES = {
    "quick": Size("Model 2", 100, 6, 2, 300),
    "small": Size("perceptron on Fashion-MNIST", 1000, 200, 8, 2000),
    "full": Size("Model 1", 32_000, 200, 50, 4000),
}
_PERCEPTRON = {"network": "perceptron", "hidden": [64], "optimizer": "AdamW", "lr": 0.003, "batch_size": 32}
SOURCES = {"weights": "weights and order of batches", "sample": "training sample", "both": "both"}


def study(bench: Bench, size: Size) -> Page:
    space = _models.fixed(_models.MODELS.get(size.job, _PERCEPTRON))
    losses = {}
    for source in SOURCES:
        losses[source] = values(bench.instances(source, _workload(size, source), space, size.n_instances))
    findings = []
    for one, other in (("sample", "weights"), ("both", "weights"), ("both", "sample")):
        found = {name: ratio(losses[one], losses[other], name) for name in ("iqr", "std")}
        said = f"IQR {found['iqr']}, std {found['std']}"
        if other == "weights":
            said += f"; greater spread by the IQR: {found['iqr'].against(1, below=False)}"
        else:
            said += f"; by the IQR: {found['iqr'].tells(1)}"
        findings.append(f"Spread with {SOURCES[one]} varying over that with {SOURCES[other]}: {said}.")
    groups = {SOURCES[source]: own for source, own in losses.items()}
    figure = boxed(groups, f"test loss, {_unit(size)}", f"Sources of randomness, {size.job}", list(plots.PALETTE[:3]))
    assert figure is not None
    return Page(
        "Sources of randomness",
        "Which source spreads the losses of instances: initial weights, the training sample, or both?",
        "Varying the sample widens the losses more than varying initial weights alone; both together look like the "
        "sample alone (1,000 instances each, Model 1, 32,000 examples of B).",
        figure,
        findings,
        {
            f"Test loss of {size.job}, {_unit(size)}, {size.n_train:,} examples": [
                {"what varies": SOURCES[source], **row(own)} for source, own in losses.items()
            ]
        },
        [
            f"{size.epochs} epochs. Where the weights vary so does the order of batches; where only the sample varies, "
            "the weights are those of one seed, and where only the weights vary the sample is one: other fixed choices "
            "may give other spreads, which the intervals do not hold."
        ],
    )


def _workload(size: Size, source: str) -> dict[str, Any]:
    if size.job in _models.MODELS:
        return _models.showers("energy", size.n_train, size.epochs, size.n_judging, vary=source)
    images = {"name": "images", "downsample": 2, "loss": "cross_entropy", "n_train": size.n_train, "vary": source}
    return {**images, "epochs": size.epochs, "n_validation": size.n_judging // 4, "n_test": size.n_judging}


def _unit(size: Size) -> str:
    return "RMSE(E)/E" if size.job in _models.MODELS else "cross entropy, nats"


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
