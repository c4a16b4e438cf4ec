"""How a network is trained, read from a configuration's parameters; no torch, so that checking a space is cheap."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from raysearch import registry
from raysearch.errors import ExperimentError, unknown

OPTIMIZERS = ("AdamW", "NAdam", "Adam", "Adamax", "RAdam", "RMSprop", "SGD")
FREEZE_SCORES = ("difference", "clean", "adversarial")
AVERAGES = ("none", "swa", "ema")
_MOMENTUM = ("RMSprop", "SGD")
_PREFIX = "loss_"


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of training, searchable like those of the architecture.

    Args:
        optimizer: a name in torch.optim.
        lr: learning rate, above 0.
        batch_size: examples per step, at least 1.
        weight_decay: decoupled for AdamW, an L2 penalty for the others; at least 0.
        momentum: of SGD and RMSprop only, in [0, 1).
        schedule: `constant`, or `cosine` (to zero at the last epoch).
        warmup_epochs: so many epochs before the learning rate is whole, rising evenly; 0 none.
        clip_norm: greatest norm of a step's gradient; 0 does not clip.
        average: `none`, or the weights that are scored and kept: `swa` (mean over epochs) or `ema` (over steps).
        average_start: share of the epochs after which averaging begins, in [0, 1].
        average_decay: of `ema`, per step, in [0, 1).
        freeze_from: first epoch (from 1) in which fragile layers no longer learn (selective backpropagation); 0 never.
        freeze_score: the synaptic score that tells fragile layers: `difference`, `clean` or `adversarial`.
        freeze_tolerance: a layer is fragile if its synaptic score is below minus this; at least 0.
        loss: name in the room `losses`; none is the workload's task loss.
        loss_parameters: of that loss; in a space they carry the prefix `loss_`, e.g. `loss_alpha`.
    """

    optimizer: str
    lr: float
    batch_size: int
    weight_decay: float = 0.0
    momentum: float = 0.0
    schedule: str = "constant"
    warmup_epochs: int = 0
    clip_norm: float = 0.0
    average: str = "none"
    average_start: float = 0.75
    average_decay: float = 0.99
    freeze_from: int = 0
    freeze_score: str = "difference"
    freeze_tolerance: float = 0.0
    loss: str | None = None
    loss_parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Recipe:
        """Return the recipe in a configuration's parameters, leaving out names that are not its own.

        Raises ExperimentError for a missing or impossible value.
        """
        for name in ("optimizer", "lr", "batch_size"):
            if name not in parameters:
                raise ExperimentError(f"the parameter {name!r} is missing from the space: training needs it")
        own = {name: parameters[name] for name in NAMES if name in parameters}
        prefixed = {name[len(_PREFIX) :]: value for name, value in parameters.items() if name.startswith(_PREFIX)}
        return cls(**own, loss_parameters=prefixed)

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.schedule not in ("constant", "cosine"):
            raise unknown("schedule", self.schedule, ("constant", "cosine"))
        require_numbers(self, ("lr", "weight_decay", "momentum"), whole=("batch_size",))
        if not self.lr > 0 or self.batch_size < 1 or self.weight_decay < 0 or not 0 <= self.momentum < 1:
            raise ExperimentError(
                f"training: lr = {self.lr} must be above 0, batch_size = {self.batch_size} at least 1, "
                f"weight_decay = {self.weight_decay} at least 0, momentum = {self.momentum} in [0, 1)"
            )
        if self.momentum and self.optimizer not in _MOMENTUM:
            raise ExperimentError(
                f"momentum = {self.momentum}: {self.optimizer} has none, only {' and '.join(_MOMENTUM)}"
            )
        self._check_aids()
        if self.loss is not None:
            registry.load("losses", self.loss, **self.loss_parameters)
        elif self.loss_parameters:
            raise ExperimentError(f"{', '.join(_PREFIX + name for name in self.loss_parameters)} without a 'loss'")

    def _check_aids(self) -> None:
        if self.average not in AVERAGES:
            raise unknown("average", self.average, AVERAGES)
        if self.freeze_score not in FREEZE_SCORES:
            raise unknown("freeze_score", self.freeze_score, FREEZE_SCORES)
        names = ("clip_norm", "average_start", "average_decay", "freeze_tolerance")
        require_numbers(self, names, whole=("warmup_epochs", "freeze_from"))
        least = min(self.warmup_epochs, self.clip_norm, self.freeze_from, self.freeze_tolerance)
        if least < 0 or not 0 <= self.average_start <= 1 or not 0 <= self.average_decay < 1:
            raise ExperimentError(
                f"training: warmup_epochs = {self.warmup_epochs}, clip_norm = {self.clip_norm}, freeze_from = "
                f"{self.freeze_from} and freeze_tolerance = {self.freeze_tolerance} must be at least 0, "
                f"average_start = {self.average_start} in [0, 1], average_decay = {self.average_decay} in [0, 1)"
            )


NAMES = tuple(item.name for item in fields(Recipe) if item.name != "loss_parameters")
"""Parameters of a space that a recipe reads, beside those with the prefix `loss_`."""


def require_numbers(holder: object, names: Iterable[str], whole: Iterable[str] = ()) -> None:
    """Raise ExperimentError unless the fields `names` hold numbers and the fields `whole` hold whole numbers."""
    for name in names:
        value = getattr(holder, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _no_number(name, value, "number")
    for name in whole:
        value = getattr(holder, name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _no_number(name, value, "whole number")


def _no_number(name: str, value: Any, kind: str) -> ExperimentError:
    with contextlib.suppress(TypeError, ValueError):
        if isinstance(value, str) and math.isfinite(float(value)):
            return ExperimentError(f"{name} = {value!r} is text, not a {kind}: write it without quotes")
    return ExperimentError(f"{name} = {value!r} is not a {kind}")


def sizes(name: str, value: Any) -> tuple[int, ...]:
    """Return a whole number or a list of them as a tuple; raises ExperimentError for anything else."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, bool) or not isinstance(item, int) for item in values):
        raise ExperimentError(f"{name} = {value!r} is not a list of whole numbers")
    return tuple(values)


def check_names(parameters: Iterable[str], own: Iterable[str], workload: str) -> None:
    """Raise UnknownNameError unless each parameter is the workload's `own` or a recipe's."""
    known = (*own, *NAMES)
    for name in parameters:
        if name not in known and not name.startswith(_PREFIX):
            raise unknown(f"parameter of {workload}", name, known)
