"""A teacher, whose word is taught beside the targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.training.recipe import Recipe
from raysearch.training.score import SCORING_BATCH


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
