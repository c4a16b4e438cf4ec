"""Study a: the spread of instances against the size of their training sample.

    python benchmarks/studies/sample_size.py [--size quick|small|full]

Models 1 and 2 of the paper on simulated showers of dataset B, energy; each instance has its own sample and weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import _models
import numpy as np
from _frame import Bench, main, values
from _numbers import ratio, row
from _page import Page, boxed

from raysearch.analysis import plots

NAME = "sample_size"


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    models: tuple[str, ...]
    n_train: tuple[int, ...]
    n_instances: int
    epochs: int
    n_judging: int


SIZES = {
    "quick": Size(("Model 2",), (100, 400), 6, 2, 300),
    "small": Size(("Model 2",), (1000, 4000), 40, 20, 2000),
    "full": Size(("Model 1", "Model 2"), (2000, 8000, 16_000, 32_000), 40, 50, 4000),
}


def study(bench: Bench, size: Size) -> Page:
    losses = {
        (model, n_train): values(_models.trained(bench, model, n_train, size.epochs, size.n_instances, size.n_judging))
        for model in size.models
        for n_train in size.n_train
    }
    findings = []
    for model in size.models:
        for smaller, larger in zip(size.n_train, size.n_train[1:], strict=False):
            found = {name: ratio(losses[model, larger], losses[model, smaller], name) for name in ("iqr", "std")}
            findings.append(
                f"{model}, {larger:,} examples against {smaller:,}: IQR ratio {found['iqr']}, "
                f"{found['iqr'].against(1)}; std ratio {found['std']}, {found['std'].against(1)}."
            )
    groups = {f"{model}, {n_train:,}": own for (model, n_train), own in losses.items()}
    colors = [plots.PALETTE[size.models.index(model)] for model, _ in losses]
    figure = boxed(groups, "test loss, RMSE(E)/E", "Spread of instances by training examples", colors)
    assert figure is not None
    rows = []
    for (model, n_train), own in losses.items():
        published = _models.PUBLISHED.get((model, n_train), "")
        rows.append({"model": model, "examples": f"{n_train:,}", **row(own), "published": published})
    return Page(
        "Spread against sample size",
        "Do the instances of a configuration agree more when each has more to learn from?",
        "The spread of instances shrinks as the sample grows (Model 2: IQR .0046 at 8,000 examples, .0006 at 32,000; "
        "50 instances, 50 epochs, dataset B).",
        figure,
        findings,
        {"Test loss, RMSE(E)/E, dataset B": rows},
        [
            f"{size.epochs} epochs; the paper has 50. More examples are also more steps of training, as there. "
            "Each instance draws its sample from a pool four times as large.",
        ],
    )


if __name__ == "__main__":
    np.seterr(all="warn")
    main(NAME, __doc__, SIZES, study)
