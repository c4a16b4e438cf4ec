"""Which layers are fragile, robust or antifragile when weights are filtered out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt

from raysearch.registry import Validated
from raysearch.training.measures import EvaluatedModel, MeasureResult
from raysearch.training.measures._filters import GLOBAL, KINDS, Bench, Curves, by_layer
from raysearch.training.measures._subjects import examined

SCORES = ("clean", "adversarial", "difference")


@dataclass(frozen=True)
class SynapticFiltering(Validated):
    """Scores of each layer, and of all together (`global`), for three filters of the signed weights.

    Filters: high-pass (w -> 0 where w <= a), low-pass (w >= a), pulse wave (a - d <= w < a + d), at thresholds a from
    the least to the greatest weight, d = (max - min) / (2 `n_thresholds`). A, B: accuracy, clean and under FGSM, over
    that of the unfiltered network, or over chance where FGSM brings it below; D: share of the weights left.
    `S_clean = int (A - D)`, `S_adversarial = int (B - D)`, `S_difference = int (B - A)` over a scaled to [0, 1].
    Negative is fragile, about zero robust, positive antifragile. Numbers `fragility` (minus the mean of the global
    S_difference) and `LAYER.FILTER.SCORE`; arrays hold the curves A, B, D.

    Args:
        n_thresholds: at least 3; odd numbers suit Simpson's rule.
        epsilon: of FGSM, in standard deviations of the inputs; above 0.
        n_examples: at most so many examples.
        tolerance: below it in magnitude a score is `robust`; None is twice its std over the instances.

    Source: arXiv 2312.09821. This project's: D, the tolerance, chance, FGSM against the unfiltered network,
    `fragility`, and that regressions take the unfiltered over the filtered task loss as A and B.
    """

    n_thresholds: Annotated[int, Ge(3)] = 21
    epsilon: Annotated[float, Gt(0)] = 0.25
    n_examples: Annotated[int, Ge(1)] = 256
    tolerance: Annotated[float, Ge(0)] | None = None

    over: ClassVar[str] = "instance"
    main: ClassVar[str] = "fragility"

    def __call__(self, subject: EvaluatedModel) -> MeasureResult:
        """Return the scores and the curves."""
        with examined(subject, self.n_examples) as (module, inputs, targets):
            bench = Bench(module, inputs, targets, subject.task, self.epsilon)
            found = by_layer(bench, self.n_thresholds)
        numbers = {
            f"{layer}.{kind}.{score}": value
            for (layer, kind), one in found.items()
            for score, value in one.scores.items()
        }
        fragility = -float(np.mean([numbers[f"{GLOBAL}.{kind}.difference"] for kind in KINDS]))
        arrays = {f"{layer}.{kind}": _stack(one) for (layer, kind), one in found.items()}
        return MeasureResult({"fragility": fragility, **numbers}, arrays)

    def summarize(self, founds: Sequence[MeasureResult]) -> MeasureResult:
        """Return means over instances, and the table `layers` of what each layer is by each filter and score.

        One instance has no spread: without `tolerance` nothing but a score of exactly 0 is then robust.
        """
        names = founds[0].numbers
        values = {name: np.asarray([found.numbers[name] for found in founds]) for name in names}
        numbers = {name: float(array.mean()) for name, array in values.items()}
        rows = []
        for name in names:
            if name != "fragility":
                layer, kind, score = name.rsplit(".", 2)
                std = float(values[name].std(ddof=1)) if len(founds) > 1 else 0.0
                tolerance = 2.0 * std if self.tolerance is None else self.tolerance
                row = {"layer": layer, "filter": kind, "score": f"S_{score}", "mean": round(numbers[name], 4)}
                rows.append({**row, "tolerance": round(tolerance, 4), "is": kind_of(numbers[name], tolerance)})
        arrays = {name: np.mean([found.arrays[name] for found in founds], axis=0) for name in founds[0].arrays}
        numbers["fragility_std"] = float(values["fragility"].std(ddof=1)) if len(founds) > 1 else 0.0
        return MeasureResult(numbers, arrays, {"layers": rows})


def kind_of(score: float, tolerance: float) -> str:
    """Return `fragile`, `robust` or `antifragile`."""
    if abs(score) <= tolerance:
        return "robust"
    return "fragile" if score < 0 else "antifragile"


def _stack(one: Curves) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.stack([one.thresholds, one.clean, one.adversarial, one.left])
