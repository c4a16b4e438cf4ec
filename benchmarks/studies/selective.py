"""Study 3, second part: synaptic scores, and selective backpropagation under attack, on images.

    python benchmarks/studies/selective.py [--size quick|small|full]

The same seeds train wholly, or with the layers frozen that are fragile by a synaptic score, plainly or on adversarial
examples; each instance is compared with itself under FGSM and PGD.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from _frame import Array, Bench, main, metric
from _numbers import of_one, of_rows
from _page import Page, boxed
from scipy import stats

NAME = "selective"
ERRORS = {"FGSM": "adversarial.fgsm_error", "PGD": "adversarial.pgd_error", "clean": "adversarial.clean_error"}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "FGSM training": {"loss": "adversarial_training", "loss_epsilon": 0.25},
    "PGD training": {"loss": "adversarial_training", "loss_epsilon": 0.25, "loss_n_steps": 4},
}
_TRAINING = {"optimizer": "AdamW", "lr": 0.001, "batch_size": 64}


@dataclass(frozen=True)
class Size:
    """Networks, trainings and numbers of seeds."""

    networks: dict[str, dict[str, Any]]
    workload: dict[str, Any]
    recipes: tuple[str, ...]
    scores: tuple[str, ...]
    n_instances: int
    n_attacked: int


def _workload(n_train: int, epochs: int, n_test: int, downsample: int) -> dict[str, Any]:
    own = {"name": "images", "n_train": n_train, "epochs": epochs, "n_test": n_test, "downsample": downsample}
    return {**own, "n_validation": min(n_test, 1000), "vary": "weights", "loss": "cross_entropy"}


_SMALL = {"network": "lenet", "conv": [8, 16], "kernel": 3, "hidden": [32]}
_WIDE = {"network": "lenet", "conv": [16, 32], "kernel": 3, "hidden": [64]}
_RESNET = {"network": "resnet", "width": 8, "blocks": 2, "stages": 3}
SIZES = {
    "quick": Size(
        {"LeNet-like": {**_SMALL, "conv": [4]}}, _workload(200, 2, 200, 2), ("FGSM training",), ("difference",), 3, 32
    ),
    "small": Size(
        {"LeNet-like": _SMALL}, _workload(5000, 10, 1000, 2), ("plain", "FGSM training"), ("difference",), 20, 500
    ),
    "full": Size(
        {"LeNet-like": _WIDE, "ResNet": _RESNET},
        _workload(10_000, 20, 2000, 1),
        tuple(RECIPES),
        ("difference", "clean"),
        40,
        1000,
    ),
}


def study(bench: Bench, size: Size) -> Page:
    rows, findings, drawn = [], [], {}
    for network, recipe in itertools.product(size.networks, size.recipes):
        of = f"{network}, {recipe}"
        found = {method: _errors(bench, size, network, recipe, method) for method in ("whole", *size.scores)}
        for method, errors in found.items():
            shown = "whole" if method == "whole" else f"S_{method} < 0 frozen"
            drawn[f"{of}, {shown}"] = errors["FGSM"]
            row = {"network": network, "training": recipe, "layers": shown, "n": len(errors["FGSM"])}
            row |= {f"error, {attack}": str(of_one(own, "mean")) for attack, own in errors.items()}
            if method != "whole":
                for attack, own in errors.items():
                    change = of_rows(lambda a, b: float(np.mean(a - b)), own, found["whole"][attack])
                    row[f"{attack} less whole's"] = str(change)
                    if attack != "clean":
                        findings.append(
                            f"{of}, {shown}: error under {attack} changes by {change}: {change.against(0)}; with "
                            f"{size.n_instances} seeds a change of {_detectable(own, found['whole'][attack]):.2g} "
                            "would be found with probability 80 %."
                        )
            rows.append(row)
    figure = boxed(drawn, "share of wrong labels under FGSM", "Whole training and selective backpropagation")
    assert figure is not None
    return Page(
        "Selective backpropagation under attack",
        "Does it make a network harder to fool when only robust and antifragile layers go on learning?",
        "Selective backpropagation improves the adversarial accuracy of ResNets and ShuffleNet.",
        figure,
        findings,
        {f"{size.workload['n_train']:,} images, {size.n_attacked} attacked validation images each": rows},
        [
            "Layers are frozen from the middle of the training on, whole ones, by their score over all filters on the "
            "training sample. FGSM and PGD within a quarter of the inputs' standard deviation, in training as in the "
            "attack that judges. Instances are compared with themselves."
        ],
    )


def _detectable(one: Array, other: Array) -> float:
    """Return the mean change that a paired comparison finds at 5 % with probability 80 %."""
    error = np.std(one - other, ddof=1) / np.sqrt(len(one))
    return float((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error)


def _errors(bench: Bench, size: Size, network: str, recipe: str, method: str) -> dict[str, Array]:
    frozen = {"freeze_from": size.workload["epochs"] // 2 + 1, "freeze_score": method} if method != "whole" else {}
    layers = size.networks[network]
    space = {name: [value] for name, value in {**_TRAINING, **layers, **RECIPES[recipe], **frozen}.items()}
    measures = [{"name": "adversarial", "of": "all", "n_examples": size.n_attacked}]
    cell = re.sub("[^a-z0-9]+", "_", f"{network} {recipe} {method}".lower())
    table = bench.instances(cell, size.workload, space, size.n_instances, measures=measures)
    return {attack: metric(table, name)[0] for attack, name in ERRORS.items()}


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
