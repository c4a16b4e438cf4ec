"""Averaged weights, which are scored and kept in place of the last ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from raysearch.training.recipe import Recipe


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
