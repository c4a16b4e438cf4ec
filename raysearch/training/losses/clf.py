"""A loss for reproducible training: the task loss, how abruptly it changes, and how much like examples differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Interval

from raysearch.registry import Validated
from raysearch.training.losses._forms import state, variance

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Clf(Validated):
    """`T + alpha |T - T_previous| + beta V`; T the batch's task loss, T_previous its mean over the epoch before.

    V is the mean over the batch's classes of `(1/n_c) sum ||p_i - mean_c p||^2`, p the softmax of `outputs`
    `(n, n_classes)`; with `outputs` `(n,)` it is the variance of the residuals, in the target's unit squared. The first
    epoch has no stable term. T_previous is a constant, so that term rescales T's gradient by 1 - alpha to 1 + alpha.

    Args:
        alpha: weight of the stable-loss term, in [0, 1): at 1 falling losses would teach nothing.
        beta: weight of the variance penalty, at least 0.

    Source: the three terms are those of arXiv 2601.00578 (Custom Loss Function, CLF); their formulas, and the form for
    regression, are this project's.
    """

    alpha: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    beta: Annotated[float, Ge(0)] = 0.1

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        now = state(step, "clf")
        task = now.task(outputs, targets)
        loss = task
        if now.previous is not None:
            loss = loss + self.alpha * (task - now.previous).abs()
        return loss + self.beta * variance(outputs, targets)

    of_members = __call__  # its sums go over examples and classes, the last dimensions
