"""Losses: what a training minimises (torch). Robustness is always scored on the workload's task loss, never on these.

Contract: a frozen dataclass with `__call__(outputs, targets, step=None) -> scalar tensor`, lower is better. A task loss
needs no `step` and scores validation examples too; `step` is what a training loss may know of the past and the network.
A loss with `teacher_epochs`, `teacher_seed` and `soften(outputs) -> outputs` has a teacher: distillation. One with
`of_members`, which takes `(n_members, n, ...)` and returns the loss of each `(n_members,)`, can train packs. One with
`compares_examples` true finds in `step.each` the task loss of each training example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # torch takes seconds to import
    from torch import Generator, Tensor, nn


class Loss(Protocol):
    """Something to minimise."""

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss of a batch: `outputs` `(n,)` or `(n, n_classes)`, `targets` `(n,)`."""


@dataclass
class Step:
    """State: `index` `(n,)` rows of the batch, `previous` the last epoch's mean task loss, `soft` a teacher's word.

    `last_batch` inputs and targets of the batch before in this epoch, `each` `(n_train,)` losses after the last epoch.
    """

    module: nn.Module | Any
    inputs: Tensor
    index: Tensor
    task: Loss
    generator: Generator | list[Generator]
    previous: float | Tensor | None = None
    soft: Tensor | None = None
    last_batch: tuple[Tensor, Tensor] | None = None
    each: Tensor | None = None
