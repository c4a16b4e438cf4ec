"""Root of the mean squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rmse:
    """`sqrt(mean((output - target)^2))` in the target's unit; `outputs` and `targets` `(n,)`; at least 0.

    Source: the position loss RMSE(x) of IEEE Access 2025, 10.1109/ACCESS.2025.3578926.
    """

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        return (outputs - targets).square().mean().sqrt()

    def of_members(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss of each member of a pack."""
        return (outputs - targets).square().flatten(1).mean(1).sqrt()
