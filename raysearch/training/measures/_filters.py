"""Synaptic filters: what is left of a network when weights of a range of values are taken out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import simpson
from torch import Tensor, nn

from raysearch.training.losses import Loss
from raysearch.training.measures._attacks import box, fgsm
from raysearch.training.measures._subjects import answers, error, is_classification, replaced, weights

KINDS = ("high", "low", "pulse")
GLOBAL = "global"
_LEAST = 1e-12
_N_THRESHOLDS, _EPSILON, _N_EXAMPLES = 11, 0.25, 256


@dataclass(frozen=True)
class Curves:
    """Of one filter on one layer: thresholds in [0, 1] and, at each, A (clean), B (FGSM) and D (weights left)."""

    thresholds: NDArray[np.float64]
    clean: NDArray[np.float64]
    adversarial: NDArray[np.float64]
    left: NDArray[np.float64]

    @property
    def scores(self) -> dict[str, float]:
        """S_clean = int (A - D), S_adversarial = int (B - D), S_difference = int (B - A), by Simpson's rule."""

        def area(values: NDArray[np.float64]) -> float:
            return float(simpson(values, x=self.thresholds))

        return {
            "clean": area(self.clean - self.left),
            "adversarial": area(self.adversarial - self.left),
            "difference": area(self.adversarial - self.clean),
        }


def keep(values: Tensor, kind: str, threshold: float, half_width: float) -> Tensor:
    """Return which signed weights a filter leaves: `high` those above, `low` those below, `pulse` those outside."""
    if kind == "high":
        return values > threshold
    if kind == "low":
        return values < threshold
    return (values < threshold - half_width) | (values >= threshold + half_width)


class Bench:
    """A network in evaluation mode, its examples, and the same examples after FGSM against the unfiltered network."""

    def __init__(self, module: nn.Module, inputs: Tensor, targets: Tensor, task: Loss, epsilon: float) -> None:
        self.module, self.targets, self.task = module, targets, task
        moved = fgsm(module, inputs, targets, task, box(inputs, epsilon))
        self._sets = (inputs, moved)
        # what a network that has lost everything still gets: below it "relative" would mean nothing
        chance = 1.0 / answers(module, inputs[:1]).shape[1] if is_classification(targets) else _LEAST
        self._plain = tuple(max(self._quality(values), chance) for values in self._sets)

    def relative(self) -> tuple[float, float]:
        """Return the quality of the network as it is now over that of the unfiltered one, clean and under FGSM."""
        clean, adversarial = (
            self._quality(values) / plain for values, plain in zip(self._sets, self._plain, strict=True)
        )
        return clean, adversarial

    def _quality(self, inputs: Tensor) -> float:
        """Return the accuracy; of a regression 1 / task loss, 0 where that is not finite."""
        wrong = error(answers(self.module, inputs), self.targets, self.task)
        if is_classification(self.targets):
            return 1.0 - wrong
        return 1.0 / max(wrong, _LEAST) if np.isfinite(wrong) else 0.0


def curves(bench: Bench, chosen: Mapping[str, Tensor], kind: str, n_thresholds: int) -> Curves:
    """Filter the `chosen` weights together at thresholds from their least to their greatest value."""
    low = min(float(value.min()) for value in chosen.values())
    high = max(float(value.max()) for value in chosen.values())
    total = sum(value.numel() for value in chosen.values())
    half_width = (high - low) / (2 * n_thresholds)
    rows = []
    for threshold in np.linspace(low, high, n_thresholds):
        masks = {name: keep(value, kind, float(threshold), half_width) for name, value in chosen.items()}
        with replaced(chosen, {name: chosen[name] * mask for name, mask in masks.items()}):
            rows.append((*bench.relative(), sum(int(mask.sum()) for mask in masks.values()) / total))
    clean, adversarial, left = np.asarray(rows).T
    return Curves(np.linspace(0.0, 1.0, n_thresholds), clean, adversarial, left)


def by_layer(bench: Bench, n_thresholds: int, whole: bool = True) -> dict[tuple[str, str], Curves]:
    """Return the curves of every layer, and of all together under GLOBAL if `whole`, by (layer, kind of filter)."""
    layers = weights(bench.module)
    chosen: dict[str, Mapping[str, Tensor]] = {name: {name: value} for name, value in layers.items()}
    if whole:
        chosen[GLOBAL] = layers
    return {(name, kind): curves(bench, chosen[name], kind, n_thresholds) for name in chosen for kind in KINDS}


def fragile_layers(
    module: nn.Module, inputs: Tensor, targets: Tensor, task: Loss, tolerance: float, score: str = "difference"
) -> list[str]:
    """Return the layers whose score S_`score`, mean over the three filters, is below `-tolerance`; never all of them.

    S_difference below 0: taking weights out harms the accuracy under attack more than the clean one. Judged on the
    first 256 examples. The mean over filters is this project's choice.
    """
    was_training = module.training
    module.eval()
    bench = Bench(module, inputs[:_N_EXAMPLES], targets[:_N_EXAMPLES], task, _EPSILON)
    found = by_layer(bench, _N_THRESHOLDS, whole=False)
    module.train(was_training)
    names = list(dict.fromkeys(name for name, _ in found))
    mean = {name: np.mean([found[name, kind].scores[score] for kind in KINDS]) for name in names}
    fragile = sorted((name for name in names if mean[name] < -tolerance), key=lambda name: mean[name])
    return fragile[: len(names) - 1]
