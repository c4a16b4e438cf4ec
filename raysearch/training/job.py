"""What is to be trained: the examples, the settings of a workload, and the job of one instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from raysearch import registry
from raysearch.records import InstanceKey
from raysearch.training.losses import Loss
from raysearch.training.recipe import Device, Recipe
from raysearch.training.score import BEST, Trained, check_score, n_scored

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Sets:
    """Inputs and targets of one instance: `train` teaches, `validation` steers the race, `test` steers nothing."""

    train: Pair
    validation: Pair
    test: Pair | None = None

    def to(self, device: torch.device) -> Sets:
        """Return the same sets on a device."""

        def move(pair: Pair) -> Pair:
            return pair[0].to(device), pair[1].to(device)

        return Sets(move(self.train), move(self.validation), None if self.test is None else move(self.test))


@dataclass(frozen=True)
class Settings(registry.Validated):
    """What a workload, not a configuration, decides about training.

    Args:
        epochs: passes over the training set, at least 1.
        patience: stop after so many epochs without a better validation loss; None never stops early.
        score: what an instance's loss is: that of its `last` epoch; that of its `best`, the first of the lowest
            validation loss, which weights, test loss and metrics are then those of too; or `mean_last_5` (or another
            number), the mean over so many last epochs, of which the last gives weights, test loss and metrics.
            With patience it is always the best. A training that diverges counts as diverged whatever came before.
        n_threads: of torch, at least 1; one is best where instances share cores.
        device: `cpu`, `cuda`, or `auto` (a GPU where this process sees one).
    """

    epochs: Annotated[int, Ge(1)]
    patience: Annotated[int, Ge(1)] | None = None
    n_threads: Annotated[int, Ge(1)] = 1
    device: Device = "auto"
    score: str = "last"

    def __post_init__(self) -> None:
        """Refuse a score that these epochs cannot have."""
        super().__post_init__()
        check_score(self.score, self.epochs, self.patience)

    @property
    def n_scored(self) -> int:
        """Over how many last epochs the loss is a mean; training_score.BEST where it is the best epoch's."""
        return BEST if self.patience is not None else n_scored(self.score)


@dataclass(frozen=True)
class Job:
    """One instance to be trained.

    Args:
        key: the configuration's id and the instance's seed.
        build: makes its network.
        recipe: how it is trained.
        seed: gives initial weights, order of batches and dropout.
        shaped_by: what made this job, a workload and the parameters of a configuration: with seed and data it tells
            whether a checkpoint is this training's.
        rows: `(n,)` of the common pool, which it is taught; None for all of them.
    """

    key: InstanceKey
    build: Callable[[], nn.Module]
    recipe: Recipe
    seed: int
    shaped_by: object
    rows: Tensor | None = None


@dataclass(frozen=True)
class Common:
    """What instances share.

    Args:
        sets: the examples; `sets.train` is the pool from whose rows each instance is taught.
        task: minimised unless a recipe names another loss.
        settings: what the workload decides.
        score: what validation and test examples are judged by, the task loss unless given.
        measure: `measure(trained, sets)` adds metrics.
    """

    sets: Sets
    task: Loss
    settings: Settings
    score: Loss | None = None
    measure: Callable[[Trained, Sets], Mapping[str, float]] | None = None

    def rows(self, job: Job) -> Tensor:
        """Return the rows of the pool `(n,)` that an instance is taught, on the device of the sets."""
        inputs = self.sets.train[0]
        return torch.arange(len(inputs), device=inputs.device) if job.rows is None else job.rows.to(inputs.device)

    def taught(self, job: Job) -> Pair:
        """Return the training examples of an instance."""
        if job.rows is None:
            return self.sets.train
        rows = self.rows(job)
        return self.sets.train[0].index_select(0, rows), self.sets.train[1].index_select(0, rows)

    def own(self, job: Job) -> Sets:
        """Return the sets of an instance."""
        return replace(self.sets, train=self.taught(job))

    @property
    def judge(self) -> Loss:
        """What validation and test examples are judged by."""
        return self.score or self.task
