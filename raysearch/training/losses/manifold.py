"""The task loss and how differently a network answers two neighbours of each example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt

from raysearch.registry import Validated
from raysearch.training.losses._forms import is_classification, state

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Manifold(Validated):
    """`T + gamma mean ||f(x + d1) - f(x + d2)||^2`, T the task loss, f `(n, n_classes)` scores.

    d1 and d2 point in random directions and are `radius` times as long as the example. Where f is `(n,)`, the
    difference is measured as the task loss measures an error of that size, squared (a relative loss: relatively).

    Args:
        gamma: weight, at least 0.
        radius: length of a displacement over that of the example, above 0.

    Source: manifold regularisation after arXiv 2003.04286; this form is this project's.
    """

    gamma: Annotated[float, Ge(0)] = 0.1
    radius: Annotated[float, Gt(0)] = 0.1

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        now = state(step, "manifold")
        moved = (_neighbours(now.inputs, self.radius, now.generator) for _ in range(2))
        one, other = (now.module(inputs).view(outputs.shape) for inputs in moved)
        if is_classification(outputs, targets):
            distance = (one - other).square().sum(dim=-1).mean(-1)
        else:
            distance = now.task(targets + one - other, targets).square()
        loss: Tensor = now.task(outputs, targets) + self.gamma * distance
        return loss

    of_members = __call__  # its sums go over examples and classes, the last dimensions


def _neighbours(inputs: Tensor, radius: float, generator: Generator | list[Generator]) -> Tensor:
    inputs = inputs if inputs.is_floating_point() else inputs.float()
    # drawn where the generator lives: the same displacements on a CPU and on a GPU
    directions = _normal(inputs, generator).to(inputs.device).flatten(1)
    lengths = inputs.flatten(1).norm(dim=1, keepdim=True)
    steps = radius * lengths * directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-12)
    moved: Tensor = inputs + steps.view_as(inputs)
    return moved


def _normal(like: Tensor, generator: Generator | list[Generator]) -> Tensor:
    """Return normal numbers, for each member of a pack from its own generator."""
    import torch

    if isinstance(generator, torch.Generator):
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)
    shape = (len(like) // len(generator), *like.shape[1:])
    return torch.cat([torch.randn(shape, generator=own, dtype=like.dtype) for own in generator])
