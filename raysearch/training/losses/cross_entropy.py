"""Cross entropy of the softmax."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_LANES = 64
"""A whole number of a processor's vectors: in columns that do not fill them torch rounds the rest otherwise."""


@dataclass(frozen=True)
class CrossEntropy:
    """`-mean(log p_target)` in nats, p the softmax of `outputs` `(n, n_classes)`; `targets` `(n,)` ints; at least 0.

    Source: the negative log-likelihood of the multinomial; textbook.
    """

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        from torch.nn import functional

        return functional.cross_entropy(outputs, targets)

    def of_members(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss of each member of a pack: the gradients of a lone one, and without gradient its very value.

        torch sums the terms of a mean loss in an order of its own, which asks for a call for each member.
        """
        import torch
        from torch.nn import functional

        n_rows, n_classes = targets.numel(), outputs.shape[-1]
        if n_rows % _LANES or not _by_columns(n_classes, outputs.device.type):
            log_p = outputs.log_softmax(dim=-1)
            each = log_p.gather(-1, targets[..., None])[..., 0]
        else:
            columns = outputs.reshape(n_rows, n_classes).t().contiguous().log_softmax(dim=0)
            each = columns.gather(0, targets.reshape(1, n_rows)).view(targets.shape)
        if torch.is_grad_enabled():
            return -each.mean(-1)
        zeros = torch.zeros_like(targets[0])
        return torch.stack([functional.nll_loss(terms[:, None], zeros) for terms in each])


@functools.cache
def _by_columns(n_classes: int, device: str) -> bool:
    """Return whether torch's log_softmax over columns, several times faster for few classes, has the bits of rows."""
    import torch

    if device != "cpu":
        return False
    rows = 3.0 * torch.randn(1024, n_classes, generator=torch.Generator().manual_seed(0))
    return torch.equal(rows.log_softmax(dim=1), rows.t().contiguous().log_softmax(dim=0).t())
