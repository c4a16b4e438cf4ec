"""Root of the mean squared relative error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RelativeRmse:
    """`sqrt(mean(((output - target) / target)^2))`; `outputs` and `targets` `(n,)`, targets never 0; at least 0.

    Source: the energy loss RMSE(E)/E of IEEE Access 2025, 10.1109/ACCESS.2025.3578926.
    """

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        return ((outputs - targets) / targets).square().mean().sqrt()

    def of_members(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss of each member of a pack."""
        return ((outputs - targets) / targets).square().flatten(1).mean(1).sqrt()
