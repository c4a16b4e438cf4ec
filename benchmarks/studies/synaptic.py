"""Study 3, third part: synaptic scores by layer, over epochs and architectures, on images.

    python benchmarks/studies/synaptic.py [--size quick|small|full]

A training of few epochs is the beginning of one of many: the same seeds train to each of the epochs, and are filtered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from _frame import Array, Bench, main
from _numbers import of_one, of_rows
from _page import Page

from raysearch.analysis import plots

NAME = "synaptic"
SCORES = ("clean", "adversarial", "difference")
_TRAINING = {"optimizer": "AdamW", "lr": 0.001, "batch_size": 64}


@dataclass(frozen=True)
class Size:
    """Networks, the epochs after which they are filtered, and numbers of seeds, thresholds and examples."""

    networks: dict[str, dict[str, Any]]
    epochs: tuple[int, ...]
    workload: dict[str, Any]
    n_instances: int
    n_thresholds: int
    n_examples: int


def _workload(n_train: int, n_test: int, downsample: int) -> dict[str, Any]:
    own = {"name": "images", "n_train": n_train, "n_test": n_test, "downsample": downsample}
    return {**own, "n_validation": 1000, "vary": "weights", "loss": "cross_entropy"}


_PERCEPTRON = {"network": "perceptron", "hidden": [64, 32]}
_LENET = {"network": "lenet", "conv": [8, 16], "kernel": 3, "hidden": [32]}
_WIDE = {"network": "lenet", "conv": [16, 32], "kernel": 3, "hidden": [64]}
_RESNET = {"network": "resnet", "width": 8, "blocks": 1, "stages": 3}
SIZES = {
    "quick": Size({"LeNet-like": {**_LENET, "conv": [4]}}, (1, 2), _workload(200, 200, 2), 3, 5, 32),
    "small": Size({"perceptron": _PERCEPTRON, "LeNet-like": _LENET}, (1, 3, 10), _workload(2000, 1000, 2), 20, 11, 128),
    "full": Size(
        {"perceptron": _PERCEPTRON, "LeNet-like": _WIDE, "ResNet": _RESNET},
        (1, 3, 10, 30),
        _workload(10_000, 2000, 1),
        20,
        21,
        256,
    ),
}


def study(bench: Bench, size: Size) -> Page:
    found = {
        (network, epochs): _by_layer(bench, size, network, epochs)
        for network in size.networks
        for epochs in size.epochs
    }
    rows = [
        {"network": network, "layer": layer, "epochs": epochs, "n": len(own["clean"])}
        | {f"S_{score}": str(of_one(own[score], "mean")) for score in SCORES}
        for (network, epochs), layers in found.items()
        for layer, own in layers.items()
    ]
    first, last = size.epochs[0], size.epochs[-1]
    findings = []
    for network in size.networks:
        for layer, own in found[network, last].items():
            before = found[network, first][layer]
            said = [f"{_kind(own[score])} by S_{score} {of_one(own[score], 'mean')}" for score in SCORES[:2]]
            change = of_rows(lambda a, b: float(np.mean(a - b)), own["difference"], before["difference"])
            findings.append(
                f"{network}, {layer}, after {last} epochs: {', '.join(said)}; S_difference changes from epoch {first} "
                f"to {last} by {change}: {change.tells(0)}."
            )
    return Page(
        "Synaptic scores over epochs",
        "Which layers are fragile, robust or antifragile to filters of their weights, and how does training change it?",
        "Negative scores are called fragile, about zero robust, positive antifragile (arXiv 2312.09821); its scores by "
        "layer, epoch and architecture were not at hand.",
        _figure(found, size),
        findings,
        {f"Mean of three filters, {size.workload['n_train']:,} images, {size.n_examples} examples filtered": rows},
        [
            f"{size.n_thresholds} thresholds. Fragile, antifragile: the interval of the mean over seeds lies below, "
            "above zero; robust: it holds zero. Instances differ in their weights and the order of batches, and those "
            "of few epochs are the beginnings of those of many.",
        ],
    )


def _kind(scores: Array) -> str:
    mean = of_one(scores, "mean")
    return "fragile" if mean.high < 0 else "antifragile" if mean.low > 0 else "robust"


def _by_layer(bench: Bench, size: Size, network: str, epochs: int) -> dict[str, dict[str, Array]]:
    """Return scores `(n_instances,)`, mean over the filters, by layer and score."""
    space = {name: [value] for name, value in {**_TRAINING, **size.networks[network]}.items()}
    asked = {"n_thresholds": size.n_thresholds, "n_examples": size.n_examples}
    measures = [{"name": "synaptic_filtering", "of": "winner", **asked}]
    cell = f"{network.lower().replace('-', '_')}_{epochs}"
    bench.instances(cell, {**size.workload, "epochs": epochs}, space, size.n_instances, measures=measures)
    # numbers by layer are not among an instance's metrics
    told = pd.read_parquet(bench.runs / bench.size / bench.name / cell / "measures.parquet")
    told = told[told["seed"].notna() & told["number"].str.contains(".", regex=False)]
    parts = told["number"].str.rsplit(".", n=2, expand=True)
    layers = parts[0].unique()
    means = told.assign(layer=parts[0], score=parts[2]).groupby(["layer", "score", "seed"])["value"].mean()
    return {layer: {score: means[layer, score].to_numpy() for score in SCORES} for layer in layers}


@plots.styled
def _figure(found: dict[tuple[str, int], dict[str, dict[str, Array]]], size: Size) -> plots.Figure:
    figure, panels = plots.canvas(4.2 * len(size.networks) + 0.8, 3.6, columns=len(size.networks))
    for axes, network in zip(panels, size.networks, strict=True):
        for color, layer in zip(plots.PALETTE, found[network, size.epochs[0]], strict=False):
            means = [of_one(found[network, epochs][layer]["clean"], "mean") for epochs in size.epochs]
            reach = [[one.value - one.low for one in means], [one.high - one.value for one in means]]
            level = [one.value for one in means]
            axes.errorbar(size.epochs, level, reach, marker="o", ms=3, lw=1.2, color=color, label=layer)
        axes.axhline(0, color=plots.GREY, lw=0.7, ls=":")
        axes.set_xscale("log")
        axes.set_xticks(size.epochs, [str(epochs) for epochs in size.epochs])
        axes.minorticks_off()
        axes.set_xlabel("epochs")
        axes.set_ylabel("S_clean (below 0: fragile)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        plots.title(axes, network, 40, f"n = {size.n_instances} seeds, means with 95 % intervals")
    return figure


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
