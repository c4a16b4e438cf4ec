"""Study d: with what is known of the detector built in, is a network robust with fewer examples?

    python benchmarks/studies/inductive_bias.py [--size quick|small|full]

Energy: Model 2 has the sum of the cells, Model 1 has not. Position: Model 4 has the barycentre, Model 3 has not. Beside
the papers' pairs, whose optimizers differ too, Model 2 without its sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import _models
import numpy as np
from _frame import Bench, main, values
from _numbers import estimate, ratio, row
from _page import Page, boxed

from raysearch.analysis import plots

NAME = "inductive_bias"
WITHOUT = "Model 2 without the sum"
_models.MODELS[WITHOUT] = {**_models.MODELS["Model 2"], "feature": False}
_models.TARGETS[WITHOUT] = "energy"


@dataclass(frozen=True)
class Size:
    """How much is trained: pairs of models, the first with the feature."""

    pairs: tuple[tuple[str, str], ...]
    n_train: tuple[int, ...]
    n_instances: int
    epochs: int
    n_judging: int


SIZES = {
    "quick": Size((("Model 2", WITHOUT),), (100,), 6, 2, 300),
    "small": Size((("Model 2", WITHOUT), ("Model 4", "Model 3")), (500,), 20, 12, 1000),
    "full": Size(
        (("Model 2", "Model 1"), ("Model 2", WITHOUT), ("Model 4", "Model 3")), (2000, 8000, 32_000), 40, 50, 4000
    ),
}


def study(bench: Bench, size: Size) -> Page:
    models = list(dict.fromkeys(model for pair in size.pairs for model in pair))
    losses = {
        (model, n): values(_models.trained(bench, model, n, size.epochs, size.n_instances, size.n_judging))
        for model in models
        for n in size.n_train
    }
    findings = []
    for with_it, without in size.pairs:
        for n in size.n_train:
            one, other = losses[with_it, n], losses[without, n]
            spread = ratio(one, other, "iqr")
            level = estimate(lambda a, b: np.median(a, axis=-1) / np.median(b, axis=-1), [one, other], paired=True)
            relative = estimate(_relative_spread, [one, other])
            findings.append(
                f"{with_it} over {without}, {n:,} examples: median {level}, {level.against(1)}; IQR {spread}, "
                f"{spread.against(1)}; IQR relative to the median {relative}."
            )
    figure = _figure(losses, size)
    rows = [
        {"model": model, "unit": _unit(model), "examples": f"{n:,}", **row(own)} for (model, n), own in losses.items()
    ]
    return Page(
        "Inductive bias",
        "Does a feature that physics knows to matter make instances agree with fewer examples?",
        "Model 2 (with the sum of the cells) is robust with less data than Model 1, Model 4 (with the barycentre) with "
        "less than Model 3.",
        figure,
        findings,
        {"Test loss, dataset B": rows},
        [f"{size.epochs} epochs. Pairs share seeds, so samples and their order; medians are compared in pairs."],
    )


def _relative_spread(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    def relative(losses: np.ndarray) -> np.ndarray:
        q1, median, q3 = np.quantile(losses, [0.25, 0.5, 0.75], axis=-1)
        return (q3 - q1) / median

    return relative(one) / relative(other)


def _unit(model: str) -> str:
    return "cm" if _models.TARGETS[model] == "position" else "RMSE(E)/E"


@plots.styled
def _figure(losses: dict[tuple[str, int], np.ndarray], size: Size) -> plots.Figure:
    targets = list(dict.fromkeys(_models.TARGETS[model] for model, _ in losses))
    figure, panels = plots.canvas(11.0, 1.8 + 0.45 * len(losses) / len(targets), columns=len(targets))
    for axes, target in zip(panels, targets, strict=True):
        groups = {f"{m}, {n:,}": own for (m, n), own in losses.items() if _models.TARGETS[m] == target}
        first = {with_it for with_it, _ in size.pairs}
        colors = [plots.PALETTE[0 if m in first else 1] for m, _ in losses if _models.TARGETS[m] == target]
        unit = "cm" if target == "position" else "RMSE(E)/E"
        boxed(groups, f"test loss, {unit}", f"{target}: with the feature (blue), without", colors, axes=axes)
    return figure


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
