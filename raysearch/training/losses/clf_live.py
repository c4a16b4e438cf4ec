"""A loss for reproducible training whose reference learns too: two batches in a row are to be equally hard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from raysearch.registry import Validated
from raysearch.training.losses._forms import state, variance

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ClfLive(Validated):
    """`T + alpha |T - R| + beta V`; T the batch's task loss, R that of the batch before it under the weights of now.

    As `clf`, but the gradient goes through R too, so that the stable term does more than rescale T's gradient. V is
    that of `clf`. An epoch's first batch has no stable term. Costs a second pass through the network a step.

    Args:
        alpha: weight of the stable-loss term, at least 0.
        beta: weight of the variance penalty, at least 0.

    Source: the terms are named in arXiv 2601.00578 (Custom Loss Function, CLF); their formulas are this project's, and
    that the reference is the batch before: the last epoch's weights are gone when its mean is compared with.
    """

    alpha: Annotated[float, Ge(0)] = 0.1
    beta: Annotated[float, Ge(0)] = 0.1

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        now = state(step, "clf_live")
        task = now.task(outputs, targets)
        loss = task
        if self.alpha and now.last_batch is not None:
            inputs, wanted = now.last_batch
            answers = now.module(inputs)
            # a pack's network answers for all its members in one row
            reference = now.task(answers.view(*wanted.shape, *outputs.shape[targets.ndim :]), wanted)
            loss = loss + self.alpha * (task - reference).abs()
        return loss + self.beta * variance(outputs, targets)

    of_members = __call__  # its sums go over examples and classes, the last dimensions
