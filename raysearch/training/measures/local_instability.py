"""On which examples instances of one configuration disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from raysearch.registry import Validated
from raysearch.training.measures import MeasureResult

Array = NDArray[Any]


@dataclass(frozen=True)
class LocalInstability(Validated):
    """Disagreement of instances by example; `outputs` probabilities `(n_instances, n_examples, n_classes)`.

    Numbers `instability` (label entropy LE_m in nats, mean over examples), `unstable_share` (of examples with LE_m >
    0), `churn` (share of examples on which two instances differ, mean over pairs), `confidence` and
    `confidence_spread` (mean and std over instances of the true class's probability, mean over examples), `error` (mean
    over instances), `ensemble_error` (of the mean probabilities). Of a regression, outputs `(n_instances, n_examples)`:
    `instability`, the mean over examples of the std over instances, `error` and `ensemble_error` (root mean
    squares), all in the target's unit. Arrays by example, and the table `worst` of the examples with the greatest
    disagreement.

    Args:
        n_worst: rows of that table.

    Source: label entropy LE_m, mu, sigma and churn of arXiv 2305.10625; the regression form is this project's. With
    one instance's outputs after each of its last epochs in the place of instances, `instability` is the paper's LE_s.
    """

    n_worst: Annotated[int, Ge(0)] = 10

    over: ClassVar[str] = "instances"
    main: ClassVar[str] = "instability"

    def __call__(self, outputs: Array, targets: Array) -> MeasureResult:
        """Return what was found; raises ValueError for no instance or outputs of another shape."""
        outputs, targets = np.asarray(outputs), np.asarray(targets)
        if outputs.ndim not in (2, 3) or not len(outputs) or outputs.shape[1:2] != targets.shape:
            raise ValueError(f"outputs {outputs.shape} do not fit targets {targets.shape}, or there is no instance")
        return self._numbers(outputs, targets) if outputs.ndim == 2 else self._classes(outputs, targets)

    def _classes(self, p: Array, targets: Array) -> MeasureResult:
        labels, n = p.argmax(axis=2), len(p)
        counts = _counts(p)
        entropy = _entropies(counts, n)
        agreeing = (counts * (counts - 1)).sum(axis=1) / max(n * (n - 1), 1)
        true = np.take_along_axis(p, np.broadcast_to(targets, labels.shape)[:, :, None], axis=2)[:, :, 0]
        right = (labels == targets).mean(axis=0)
        numbers = {
            "instability": entropy.mean(),
            "unstable_share": (entropy > 0).mean(),
            "churn": 1.0 - agreeing.mean() if n > 1 else 0.0,
            "confidence": true.mean(),
            "confidence_spread": true.std(axis=0).mean(),
            "error": 1.0 - right.mean(),
            "ensemble_error": (p.mean(axis=0).argmax(axis=1) != targets).mean(),
        }
        by_example = {
            "label_entropy": entropy,
            "confidence": true.mean(axis=0),
            "confidence_spread": true.std(axis=0),
            "share_right": right,
        }
        return self._found(numbers, by_example, targets, "label_entropy")

    def _numbers(self, outputs: Array, targets: Array) -> MeasureResult:
        spread, mean = outputs.std(axis=0), outputs.mean(axis=0)
        numbers = {
            "instability": spread.mean(),
            "error": np.sqrt(((outputs - targets) ** 2).mean(axis=1)).mean(),
            "ensemble_error": np.sqrt(((mean - targets) ** 2).mean()),
        }
        return self._found(numbers, {"spread": spread, "mean": mean}, targets, "spread")

    def _found(self, numbers: dict[str, Any], by_example: dict[str, Array], targets: Array, key: str) -> MeasureResult:
        worst = np.argsort(-by_example[key], kind="stable")[: self.n_worst]
        rows = [
            {
                "example": int(i),
                "target": targets[i].item(),
                **{k: round(float(v[i]), 4) for k, v in by_example.items()},
            }
            for i in worst
        ]
        return MeasureResult({name: float(value) for name, value in numbers.items()}, by_example, {"worst": rows})


def epoch_instability(outputs: Array) -> float:
    """Return LE_s of one instance, `instability` over its outputs after several epochs, and nothing that costs more.

    `outputs` are class scores of any scale `(n_epochs, n_examples, n_classes)`, or numbers `(n_epochs, n_examples)`.
    """
    spread = outputs.std(axis=0) if outputs.ndim == 2 else _entropies(_counts(outputs), len(outputs))
    return float(spread.mean())


def _counts(scores: Array) -> Array:
    """Return how many instances name a class, `(n_examples, n_classes)`."""
    labels, (_, n_examples, n_classes) = scores.argmax(axis=2), scores.shape
    cells = labels + n_classes * np.arange(n_examples)
    return np.bincount(cells.ravel(), minlength=n_examples * n_classes).reshape(n_examples, n_classes)


def _entropies(counts: Array, n: int) -> Array:
    """Return the entropy of the label by example, in nats."""
    shares = np.arange(n + 1) / n
    terms = -shares * np.log(np.where(shares > 0, shares, 1.0)) + 0.0  # looked up: counts are few whole numbers
    return np.asarray(terms[counts].sum(axis=1))


def ensembles(outputs: Array, size: int) -> Array:
    """Return the mean outputs of every `size` consecutive instances, `(n_instances // size, n_examples, ...)`.

    They take the place of instances where the ensemble is the reference that other mitigations are compared with.
    """
    n = len(outputs) // size
    return np.asarray(outputs[: n * size].reshape(n, size, *outputs.shape[1:]).mean(axis=1))
