"""Temporal guided temperature scaled smoothing: learn what a teacher thought of each example, averaged over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt

from raysearch.registry import Validated
from raysearch.training.losses._forms import is_classification, of_batch, soft_cross_entropy, state

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Tgtss(Validated):
    """Cross entropy of `outputs` `(n, n_classes)` with `q_i = mean_t softmax(z_i^(t) / tau)`, at least 0.

    z^(t) are the scores that a teacher, the same network trained on the task loss from other initial weights, gives
    the training examples after its epoch t. With `outputs` `(n,)` the teacher's answers averaged over its epochs take
    the targets' place in the task loss, and tau has no effect. Costs the teacher's training beside the student's.

    Args:
        tau: temperature, above 0; above 1 makes the teacher less sure.
        teacher_epochs: of the teacher; 0 is as many as the student's.
        teacher_seed: of the teacher, at least 0; None gives each instance a teacher of its own, a number the same
            initial weights and order of batches to the teachers of all.
        teacher_from: the first epoch of the teacher, from 1, that is heard: the mean is over it and those after it.

    Source: arXiv 2305.10625, section on mitigation; the formula, and the form for regression, are this project's.
    """

    tau: Annotated[float, Gt(0)] = 2.0
    teacher_epochs: Annotated[int, Ge(0)] = 0
    teacher_seed: Annotated[int, Ge(0)] | None = None
    teacher_from: Annotated[int, Ge(1)] = 1

    def soften(self, outputs: Tensor) -> Tensor:
        """Return what one epoch of the teacher contributes, of the shape of `outputs`."""
        return (outputs / self.tau).softmax(dim=1) if outputs.ndim == 2 else outputs

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        now = state(step, "tgtss")
        if now.soft is None:
            raise ValueError("tgtss needs a teacher's word in step.soft: train with raysearch.training.loop.instance")
        wanted = of_batch(now.soft, now.index)
        if is_classification(outputs, targets):
            return soft_cross_entropy(outputs, wanted)
        return now.task(outputs, wanted)

    of_members = __call__  # its sums go over examples and classes, the last dimensions
