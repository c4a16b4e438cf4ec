"""Adversarial examples within a box around each example: one step (FGSM) and several (PGD)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raysearch.training.losses import Loss


def box(inputs: Tensor, epsilon: float) -> float:
    """Return half the width of the box: `epsilon` standard deviations of all values of `inputs`.

    Relative, so that one epsilon serves images in [0, 1] and energies in GeV; this project's choice.
    """
    return epsilon * float(inputs.std(correction=0))


def fgsm(module: nn.Module, inputs: Tensor, targets: Tensor, task: Loss, width: float) -> Tensor:
    """Return `inputs + width sign(gradient)`, kept within the range of values that the inputs have.

    Source: fast gradient sign method, arXiv 1412.6572.
    """
    moved = inputs + width * _gradient(module, inputs, targets, task).sign()
    return moved.clamp(float(inputs.min()), float(inputs.max()))


def pgd(
    module: nn.Module, inputs: Tensor, targets: Tensor, task: Loss, width: float, n_steps: int, start: Tensor
) -> Tensor:
    """Return the end of `n_steps` projected gradient steps of `2.5 width / n_steps` from `inputs + start`.

    Source: projected gradient descent in the maximum norm, arXiv 1706.06083.
    """
    low, high = float(inputs.min()), float(inputs.max())
    moved = (inputs + start).clamp(low, high)
    for _ in range(n_steps):
        moved = moved + 2.5 * width / n_steps * _gradient(module, moved, targets, task).sign()
        moved = torch.minimum(torch.maximum(moved, inputs - width), inputs + width).clamp(low, high)
    return moved


def _gradient(module: nn.Module, inputs: Tensor, targets: Tensor, task: Loss) -> Tensor:
    watched = inputs.detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(task(module(watched), targets), watched)
    return gradient
