"""Study b: what makes instances differ, their weights or their sample?

    python benchmarks/studies/randomness.py [--size quick|small|full]

One model, three searches: seeds change the initial weights and the order of batches, the training sample, or both.
"""

from __future__ import annotations

from dataclasses import dataclass

import _models
from _frame import Bench, main, values
from _numbers import ratio, row
from _page import Page, boxed

from raysearch.analysis import plots

NAME = "randomness"


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    model: str
    n_train: int
    n_instances: int
    epochs: int
    n_judging: int


SIZES = {
    "quick": Size("Model 2", 100, 6, 2, 300),
    "small": Size("Model 2", 500, 100, 12, 1000),
    "full": Size("Model 1", 32_000, 200, 50, 4000),
}
SOURCES = {"weights": "weights and order of batches", "sample": "training sample", "both": "both"}


def study(bench: Bench, size: Size) -> Page:
    space = _models.fixed(_models.MODELS[size.model])
    losses = {}
    for source in SOURCES:
        workload = _models.showers("energy", size.n_train, size.epochs, size.n_judging, vary=source)
        losses[source] = values(bench.instances(source, workload, space, size.n_instances))
    findings = []
    for one, other in (("sample", "weights"), ("both", "weights"), ("both", "sample")):
        found = {name: ratio(losses[one], losses[other], name) for name in ("iqr", "std")}
        said = f"IQR {found['iqr']}, std {found['std']}"
        if other == "weights":
            said += f"; greater spread by the IQR: {found['iqr'].against(1, below=False)}"
        else:
            within = found["iqr"].low <= 1 <= found["iqr"].high
            said += f"; alike within the interval: {'yes' if within else 'no'}"
        findings.append(f"Spread with {SOURCES[one]} varying over that with {SOURCES[other]}: {said}.")
    groups = {SOURCES[source]: own for source, own in losses.items()}
    figure = boxed(groups, "test loss, RMSE(E)/E", f"Sources of randomness, {size.model}", list(plots.PALETTE[:3]))
    assert figure is not None
    return Page(
        "Sources of randomness",
        "Which source spreads the losses of instances: initial weights, the training sample, or both?",
        "Varying the sample widens the losses more than varying initial weights alone; both together look like the "
        "sample alone (1,000 instances each, Model 1, 32,000 examples of B).",
        figure,
        findings,
        {
            f"Test loss of {size.model}, RMSE(E)/E, {size.n_train:,} examples of B": [
                {"what varies": SOURCES[source], **row(own)} for source, own in losses.items()
            ]
        },
        [
            f"{size.epochs} epochs. Where the weights vary so does the order of batches; where only the sample varies, "
            "the weights are those of one seed, and where only the weights vary the sample is one: other fixed choices "
            "may give other spreads, which the intervals do not hold."
        ],
    )


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
