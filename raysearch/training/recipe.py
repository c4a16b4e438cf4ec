"""How a network is trained, read from a configuration's parameters; no torch, so that checking a space is cheap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval

from raysearch import registry
from raysearch.errors import ExperimentError, unknown

Device = Literal["auto", "cpu", "cuda"]
Optimizer = Literal["AdamW", "NAdam", "Adam", "Adamax", "RAdam", "RMSprop", "SGD"]
_MOMENTUM = ("RMSprop", "SGD")
_PREFIX = "loss_"


@dataclass(frozen=True)
class Recipe(registry.Validated):
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

    optimizer: Optimizer
    lr: Annotated[float, Gt(0)]
    batch_size: Annotated[int, Ge(1)]
    weight_decay: Annotated[float, Ge(0)] = 0.0
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[int, Ge(0)] = 0
    clip_norm: Annotated[float, Ge(0)] = 0.0
    average: Literal["none", "swa", "ema"] = "none"
    average_start: Annotated[float, Interval(ge=0, le=1)] = 0.75
    average_decay: Annotated[float, Interval(ge=0, lt=1)] = 0.99
    freeze_from: Annotated[int, Ge(0)] = 0
    freeze_score: Literal["difference", "clean", "adversarial"] = "difference"
    freeze_tolerance: Annotated[float, Ge(0)] = 0.0
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
        super().__post_init__()
        if self.momentum and self.optimizer not in _MOMENTUM:
            raise ExperimentError(
                f"momentum = {self.momentum}: {self.optimizer} has none, only {' and '.join(_MOMENTUM)}"
            )
        if self.loss is not None:
            registry.load("losses", self.loss, **self.loss_parameters)
        elif self.loss_parameters:
            raise ExperimentError(f"{', '.join(_PREFIX + name for name in self.loss_parameters)} without a 'loss'")

    @property
    def pack_key(self) -> tuple[Any, ...] | None:
        """What recipes have in common whose instances can train in one pack, None for one that trains alone.

        Alone train those that freeze layers, which differ from instance to instance, and those whose loss cannot take
        the batches of several instances. The learning rate, its schedule and warm-up, weight decay, momentum, clipping
        and the loss's weights may differ within a pack.
        """
        loss = registry.plugin("losses", self.loss) if self.loss else None
        if self.freeze_from or (loss is not None and not hasattr(loss, "of_members")):
            return None
        average = (self.average, self.average_start, self.average_decay) if self.average != "none" else ()
        return self.optimizer, self.batch_size, self.loss, self.loss_parameters.get("teacher_epochs", 0), average


NAMES = tuple(item.name for item in fields(Recipe) if item.name != "loss_parameters")
"""Parameters of a space that a recipe reads, beside those with the prefix `loss_`."""


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
