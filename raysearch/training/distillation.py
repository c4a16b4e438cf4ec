"""A teacher, whose word is taught beside the targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.errors import ExperimentError
from raysearch.training.recipe import Recipe
from raysearch.training.score import SCORING_BATCH


def teachers_recipe(recipe: Recipe) -> Recipe:
    """Return how a teacher is trained: as its student, but on the task loss."""
    return dataclasses.replace(recipe, loss=None, loss_parameters={}, freeze_from=0)


def teacher_seed(loss: Any, seed: int) -> int:
    """Return the seed of an instance's teacher, which is never the instance's own unless the loss says so."""
    return seed + 1 if loss.teacher_seed is None else int(loss.teacher_seed)


def first_heard(loss: Any, epochs: int) -> int:
    """Return the first epoch of a teacher of so many that the loss lets count; raises ExperimentError beyond its last.

    A loss of another package may know of no such epoch.
    """
    first = int(getattr(loss, "teacher_from", 1))
    if first > epochs:
        raise ExperimentError(f"teacher_from = {first}, but the teacher has {epochs} epochs: take one of them")
    return first


class Heard:
    """The mean of what a teacher has said since its epoch `first`; of one that ends before, of all."""

    def __init__(self, first: int) -> None:
        self._first, self._epoch, self._n = first, 0, 0
        self._total: Tensor | float = 0.0

    def add(self, said: Tensor) -> None:
        """Take in the teacher's answers after its next epoch."""
        self._epoch += 1
        if self._epoch == self._first:
            self._total, self._n = 0.0, 0
        self._total, self._n = self._total + said, self._n + 1

    @property
    def mean(self) -> Any:
        """What is taught, a tensor."""
        return self._total / self._n


def teach(
    build: Callable[[], nn.Module],
    train: Callable[[nn.Module, Recipe, int, Callable[[nn.Module], None]], None],
    recipe: Recipe,
    inputs: Tensor,
    seed: int,
    soften: Callable[[Tensor], Tensor],
    *,
    first: int = 1,
) -> Tensor:
    """Train a teacher on the task loss and return its softened answers to `inputs`, averaged from epoch `first` on.

    `train(module, recipe, seed, after_epoch)` is the loop. The student's generators are left as they were, so that it
    starts from the weights it would have without a teacher.
    """
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    heard = Heard(first)

    @torch.no_grad()
    def listen(module: nn.Module) -> None:
        module.eval()
        heard.add(soften(torch.cat([module(part) for part in torch.split(inputs, SCORING_BATCH)])))

    plain = teachers_recipe(recipe)
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        train(build().to(inputs.device), plain, seed, listen)
    found: Tensor = heard.mean
    return found
