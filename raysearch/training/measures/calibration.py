"""Whether a network is as sure as it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from raysearch.registry import Validated
from raysearch.training.measures import EvaluatedModel, MeasureResult
from raysearch.training.measures._subjects import answers, examined, is_classification


@dataclass(frozen=True)
class Calibration(Validated):
    """Numbers of a classifier: `miscalibration` (ECE, in [0, 1]), `nll` (nats), `brier` (in [0, 2]), `rejection_loss`.

    `rejection_loss` is 1 less the area under accuracy against coverage, examples taken from the surest on. Of a
    regression: `miscalibration`, `|mean residual| / std(targets)`, and `slope`, that of targets on outputs (1 is best).

    Args:
        n_bins: of the ECE, at least 1.
        n_examples: at most so many examples.

    Source: the numbers reported by Plex, arXiv 2207.07411; ECE by torchmetrics. The regression form is this project's.
    """

    n_bins: Annotated[int, Ge(1)] = 15
    n_examples: Annotated[int, Ge(1)] = 10_000

    over: ClassVar[str] = "instance"
    main: ClassVar[str] = "miscalibration"

    def __call__(self, subject: EvaluatedModel) -> MeasureResult:
        """Return the numbers."""
        with examined(subject, self.n_examples) as (module, inputs, targets):
            outputs = answers(module, inputs)
        return MeasureResult(
            self._classes(outputs, targets) if is_classification(targets) else _numbers(outputs, targets)
        )

    def _classes(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        log_p = outputs.log_softmax(dim=1)
        p = log_p.exp()
        truth = torch.nn.functional.one_hot(targets, p.shape[1])
        confidence, labels = p.max(dim=1)
        right = (labels == targets)[confidence.argsort(descending=True, stable=True)].double()
        accuracy = right.cumsum(0) / torch.arange(1, len(right) + 1, device=right.device)
        ece = multiclass_calibration_error(p, targets, num_classes=p.shape[1], n_bins=self.n_bins, norm="l1")
        return {
            "miscalibration": float(ece),
            "nll": float(-log_p.gather(1, targets[:, None]).mean()),
            "brier": float((p - truth).square().sum(dim=1).mean()),
            "rejection_loss": 1.0 - float(accuracy.mean()),
        }


def _numbers(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    bias = float((outputs - targets).mean().abs() / targets.std(correction=0).clamp_min(1e-12))
    centred = outputs - outputs.mean()
    slope = (centred * (targets - targets.mean())).sum() / centred.square().sum().clamp_min(1e-12)
    return {"miscalibration": bias, "slope": float(slope)}
