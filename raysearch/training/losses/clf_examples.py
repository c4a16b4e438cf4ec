"""A loss for reproducible training that penalises how abruptly the loss of each single example changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge, Interval

from raysearch.registry import Validated
from raysearch.training.losses._forms import of_batch, of_examples, state, variance

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ClfExamples(Validated):
    """`T + alpha mean_i |l_i - l_i'| + beta V`; T the batch's task loss, l_i each example's, l_i' after the last epoch.

    As `clf`, example by example: one whose loss fell since the last epoch teaches 1 - alpha times as much as in T, one
    whose loss rose 1 + alpha times. V is that of `clf`. The first epoch has no stable term. l' are constants, found by
    a pass over the training examples before each epoch.

    Args:
        alpha: weight of the stable-loss term, in [0, 1): at 1 falling losses would teach nothing.
        beta: weight of the variance penalty, at least 0.

    Source: the terms are named in arXiv 2601.00578 (Custom Loss Function, CLF); their formulas are this project's, and
    that the change is that of each example.
    """

    alpha: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    beta: Annotated[float, Ge(0)] = 0.1

    compares_examples: ClassVar[bool] = True

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        now = state(step, "clf_examples")
        loss = now.task(outputs, targets)
        if now.each is not None:
            change = of_examples(now.task, outputs, targets) - of_batch(now.each, now.index)
            loss = loss + self.alpha * change.abs().mean(-1)
        return loss + self.beta * variance(outputs, targets)

    of_members = __call__  # its sums go over examples and classes, the last dimensions
