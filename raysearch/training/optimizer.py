"""The optimizer of a training, in the form that costs the fewest kernels, and the batches that it is fed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.training.recipe import Recipe

FUSED = ("Adam", "AdamW", "SGD")
"""Those of the recipe's optimizers that torch updates in one kernel, on a CPU as on a GPU; the others go foreach."""
_BATCHES = 64
"""Examples are put into their order for so many batches at a time: few gathers, and no second copy of a large set."""


def optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer for all parameters of `module`, as it stands on its device.

    Fused and foreach forms give the losses of torch's loop over parameters to within rounding.
    """
    arguments: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.momentum:
        arguments["momentum"] = recipe.momentum
    arguments["fused" if recipe.optimizer in FUSED else "foreach"] = True
    found = getattr(torch.optim, recipe.optimizer)(module.parameters(), **arguments)
    return found  # type: ignore[no-any-return]


def batches(
    inputs: Tensor, targets: Tensor, order: torch.Generator, batch_size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield rows, inputs and targets of the batches of one epoch, in an order drawn from `order`; each example once."""
    for stretch in torch.split(torch.randperm(len(inputs), generator=order), batch_size * _BATCHES):
        rows = stretch.to(inputs.device)
        taken = rows, inputs.index_select(0, rows), targets.index_select(0, rows)
        parts = (torch.split(values, batch_size) for values in taken)
        yield from zip(*parts, strict=True)


def rate_factor(recipe: Recipe, epochs: int) -> Callable[[int], float]:
    """Return the function of the epoch (from 0) that scales the learning rate: warm-up, then the schedule."""

    def factor(epoch: int) -> float:
        warm = min(1.0, (epoch + 1) / (recipe.warmup_epochs + 1))
        cosine = 0.5 * (1.0 + math.cos(math.pi * epoch / epochs)) if recipe.schedule == "cosine" else 1.0
        return warm * cosine

    return factor
