"""Study 3, second part: synaptic scores, and selective backpropagation under attack, on images.

    python benchmarks/studies/selective.py [--size quick|small|full]

The same seeds train wholly, or with the layers frozen that are fragile by a synaptic score; each instance is compared
with itself under FGSM and PGD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from _frame import Array, Bench, main, metric
from _numbers import of_one, of_rows
from _page import Page, boxed

NAME = "selective"
ERRORS = {"FGSM": "adversarial.fgsm_error", "PGD": "adversarial.pgd_error", "clean": "adversarial.clean_error"}
_TRAINING = {"optimizer": "AdamW", "lr": 0.001, "batch_size": 64}


@dataclass(frozen=True)
class Size:
    """Networks, training and numbers of seeds."""

    networks: dict[str, dict[str, Any]]
    workload: dict[str, Any]
    scores: tuple[str, ...]
    n_instances: int
    n_attacked: int


def _workload(n_train: int, epochs: int, n_test: int, downsample: int) -> dict[str, Any]:
    own = {"name": "images", "n_train": n_train, "epochs": epochs, "n_test": n_test, "downsample": downsample}
    return {**own, "n_validation": n_test, "vary": "weights", "loss": "cross_entropy"}


_SMALL = {"network": "lenet", "conv": [8, 16], "kernel": 3, "hidden": [32]}
_WIDE = {"network": "lenet", "conv": [16, 32], "kernel": 3, "hidden": [64]}
_RESNET = {"network": "resnet", "width": 8, "blocks": 2, "stages": 3}
SIZES = {
    "quick": Size({"LeNet-like": {**_SMALL, "conv": [4]}}, _workload(200, 2, 200, 2), ("difference",), 3, 32),
    "small": Size({"LeNet-like": _SMALL}, _workload(1000, 8, 500, 2), ("difference", "clean"), 20, 200),
    "full": Size(
        {"LeNet-like": _WIDE, "ResNet": _RESNET}, _workload(10_000, 20, 2000, 1), ("difference", "clean"), 40, 1000
    ),
}


def study(bench: Bench, size: Size) -> Page:
    rows, findings, drawn = [], [], {}
    for network, layers in size.networks.items():
        found = {method: _errors(bench, size, network, layers, method) for method in ("whole", *size.scores)}
        for method, errors in found.items():
            shown = "whole training" if method == "whole" else f"S_{method} < 0 frozen"
            drawn[f"{network}, {shown}"] = errors["FGSM"]
            row = {"network": network, "training": shown, "n": len(errors["FGSM"])}
            row |= {f"error, {attack}": str(of_one(own, "mean")) for attack, own in errors.items()}
            if method != "whole":
                for attack, own in errors.items():
                    change = of_rows(lambda a, b: float(np.mean(a - b)), own, found["whole"][attack])
                    row[f"{attack} less whole's"] = str(change)
                    if attack != "clean":
                        findings.append(
                            f"{network}, {shown}: error under {attack} changes by {change}: {change.against(0)}."
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
            "training sample. FGSM and PGD within a quarter of the inputs' standard deviation. Instances are compared "
            "with themselves. Adversarial training is not in the package, so selective backpropagation after it was "
            "not tried."
        ],
    )


def _errors(bench: Bench, size: Size, network: str, layers: dict[str, Any], method: str) -> dict[str, Array]:
    frozen = {"freeze_from": size.workload["epochs"] // 2 + 1, "freeze_score": method} if method != "whole" else {}
    space = {name: [value] for name, value in {**_TRAINING, **layers, **frozen}.items()}
    measures = [{"name": "adversarial", "of": "all", "n_examples": size.n_attacked}]
    cell = f"{network.lower().replace('-', '_')}_{method}"
    table = bench.instances(cell, size.workload, space, size.n_instances, measures=measures)
    return {attack: metric(table, name)[0] for attack, name in ERRORS.items()}


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
