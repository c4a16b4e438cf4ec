"""What a recipe may add to plain gradient descent: a teacher, averaged weights, and layers that no longer learn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from raysearch.training.losses import Loss
from raysearch.training.recipe import Recipe
from raysearch.training.score import SCORING_BATCH


class Averaging:
    """Keeps the average of a network's weights, from an epoch on, as the recipe says; it is what is scored and kept.

    `swa` averages the weights at the ends of epochs, `ema` all steps with exponentially falling weight. Buffers (of
    batch normalisation) are averaged alike.

    Source: torch.optim.swa_utils; stochastic weight averaging, arXiv 1803.05407.
    """

    def __init__(self, module: nn.Module, recipe: Recipe, epochs: int) -> None:
        self._module, self._kind = module, recipe.average
        self._first = max(1, math.ceil(recipe.average_start * epochs))
        self._average: Callable[..., Any] | None = (
            get_ema_multi_avg_fn(recipe.average_decay) if recipe.average == "ema" else None  # type: ignore[no-untyped-call]
        )
        self._model: AveragedModel | None = None

    def after_step(self) -> None:
        """Take in the weights after a step."""
        if self._kind == "ema" and self._model is not None:
            self._model.update_parameters(self._module)

    def after_epoch(self, epoch: int) -> nn.Module:
        """Take in the weights after `epoch` (from 1) and return the network to score."""
        if self._kind == "none" or epoch < self._first:
            return self._module
        if self._model is None:
            self._model = AveragedModel(self._module, multi_avg_fn=self._average, use_buffers=True)
            self._model.update_parameters(self._module)
        elif self._kind == "swa":
            self._model.update_parameters(self._module)
        return self._model.module

    def state(self) -> dict[str, Tensor]:
        """Return the average so far, empty where it has not begun."""
        return {} if self._model is None else self._model.state_dict()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        if state:
            self._model = AveragedModel(self._module, multi_avg_fn=self._average, use_buffers=True)
            self._model.load_state_dict(state)

    def settle(self) -> None:
        """Put the average into the network itself."""
        if self._model is not None:
            self._module.load_state_dict(self._model.module.state_dict())


def rate_factor(recipe: Recipe, epochs: int) -> Callable[[int], float]:
    """Return the function of the epoch (from 0) that scales the learning rate: warm-up, then the schedule."""

    def factor(epoch: int) -> float:
        warm = min(1.0, (epoch + 1) / (recipe.warmup_epochs + 1))
        cosine = 0.5 * (1.0 + math.cos(math.pi * epoch / epochs)) if recipe.schedule == "cosine" else 1.0
        return warm * cosine

    return factor


def freeze_fragile(module: nn.Module, inputs: Tensor, targets: Tensor, task: Loss, recipe: Recipe) -> list[str]:
    """Freeze the layers whose synapses are fragile by a score on these training examples and return their names.

    A frozen layer gets no gradient, so optimizers pass it over, weight decay included. Never freezes every layer: where
    all are fragile, the least fragile goes on learning.

    Source: selective backpropagation of arXiv 2312.09821; when, and over which filters, is this project's.
    """
    from raysearch.training.measures._filters import fragile_layers

    names = fragile_layers(module, inputs, targets, task, recipe.freeze_tolerance, recipe.freeze_score)
    for name in names:
        for parameter in module.get_submodule(name).parameters(recurse=False):
            parameter.requires_grad_(False)
    return names


def teachers_recipe(recipe: Recipe) -> Recipe:
    """Return how a teacher is trained: as its student, but on the task loss."""
    return dataclasses.replace(recipe, loss=None, loss_parameters={}, freeze_from=0)


def teacher_seed(loss: Any, seed: int) -> int:
    """Return the seed of an instance's teacher, which is never the instance's own unless the loss says so."""
    return seed + 1 if loss.teacher_seed is None else int(loss.teacher_seed)


def teach(
    build: Callable[[], nn.Module],
    train: Callable[[nn.Module, Recipe, int, Callable[[nn.Module], None]], None],
    recipe: Recipe,
    inputs: Tensor,
    seed: int,
    soften: Callable[[Tensor], Tensor],
) -> Tensor:
    """Train a teacher on the task loss and return its softened answers to `inputs`, averaged over its epochs.

    `train(module, recipe, seed, after_epoch)` is the loop. The student's generators are left as they were, so that it
    starts from the weights it would have without a teacher.
    """
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    total, n_epochs = torch.zeros((), device=inputs.device), 0

    @torch.no_grad()
    def listen(module: nn.Module) -> None:
        nonlocal total, n_epochs
        module.eval()
        total = total + soften(torch.cat([module(part) for part in torch.split(inputs, SCORING_BATCH)]))
        n_epochs += 1

    plain = teachers_recipe(recipe)
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        train(build().to(inputs.device), plain, seed, listen)
    return total / n_epochs
