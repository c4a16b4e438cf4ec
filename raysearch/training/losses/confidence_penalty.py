"""The task loss less the entropy of the prediction: being sure costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from raysearch.registry import Validated
from raysearch.training.losses._forms import is_classification, state

if TYPE_CHECKING:
    from torch import Tensor

_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True)
class ConfidencePenalty(Validated):
    """`T - beta H`, T the task loss, H in nats the mean entropy of the softmax of `outputs` `(n, n_classes)`.

    With `outputs` `(n,)`, H is the entropy of a normal distribution with the variance of the batch's residuals: a
    network that fits its training examples more closely than it should pays. May be negative.

    Args:
        beta: weight of the entropy, at least 0.

    Source: arXiv 1701.06548, section 3.1; the form for regression is this project's.
    """

    beta: Annotated[float, Ge(0)] = 0.1

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        task = state(step, "confidence_penalty").task(outputs, targets)
        return task - self.beta * _entropy(outputs, targets)

    of_members = __call__  # its sums go over examples and classes, the last dimensions


def _entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    if is_classification(outputs, targets):
        log_p = outputs.log_softmax(dim=-1)
        return -(log_p.exp() * log_p).sum(dim=-1).mean(-1)
    variance = (outputs - targets).var(-1, correction=0).clamp_min(_LEAST_VARIANCE)
    return 0.5 * (variance * (2.0 * math.pi * math.e)).log()
