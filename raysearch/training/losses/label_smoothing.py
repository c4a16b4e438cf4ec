"""Cross entropy against labels that are not quite certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Interval

from raysearch.registry import Validated
from raysearch.training.losses._forms import is_classification, smoothed, soft_cross_entropy, state

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LabelSmoothing(Validated):
    """Cross entropy with `(1 - epsilon) one-hot + epsilon / n_classes`; `outputs` `(n, n_classes)`, `targets` `(n,)`.

    With `outputs` `(n,)` each target moves by `epsilon` towards the batch's mean target, and the task loss judges.

    Args:
        epsilon: share of the label that is spread out, in [0, 1).

    Source: arXiv 1701.06548, section 3.2; the form for regression is this project's.
    """

    epsilon: Annotated[float, Interval(ge=0, lt=1)] = 0.1

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        if is_classification(outputs, targets):
            return soft_cross_entropy(outputs, smoothed(targets, outputs.shape[-1], self.epsilon))
        moved = targets + self.epsilon * (targets.mean(-1, keepdim=True) - targets)
        return state(step, "label_smoothing").task(outputs, moved)

    of_members = __call__  # its sums go over examples and classes, the last dimensions
