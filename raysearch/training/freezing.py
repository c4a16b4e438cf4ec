"""Layers that no longer learn: selective backpropagation."""

from __future__ import annotations

from torch import Tensor, nn

from raysearch.training.losses import Loss
from raysearch.training.recipe import Recipe


def freeze_fragile(module: nn.Module, inputs: Tensor, targets: Tensor, task: Loss, recipe: Recipe) -> list[str]:
    """Freeze the layers whose synapses are fragile by a score on these training examples and return their names.

    A frozen layer gets no gradient, so optimizers pass it over, weight decay included. Never freezes every layer: where
    all are fragile, the least fragile goes on learning.

    Source: selective backpropagation of arXiv 2312.09821; when, and over which filters, is this project's.
    """
    from raysearch.training.measures._filters import fragile_layers

    floats = inputs if inputs.is_floating_point() else inputs.float()  # an attack moves them a little
    names = fragile_layers(module, floats, targets, task, recipe.freeze_tolerance, recipe.freeze_score)
    for name in names:
        for parameter in module.get_submodule(name).parameters(recurse=False):
            parameter.requires_grad_(False)
    return names
