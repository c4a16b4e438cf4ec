"""Cross entropy of the softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CrossEntropy:
    """`-mean(log p_target)` in nats, p the softmax of `outputs` `(n, n_classes)`; `targets` `(n,)` ints; at least 0.

    Source: the negative log-likelihood of the multinomial; textbook.
    """

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        from torch.nn import functional

        return functional.cross_entropy(outputs, targets)
