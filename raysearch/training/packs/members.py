"""What belongs to one member of a pack alone, and its way into a pack and out of it: a lone training's state."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.training import optimizer as alone
from raysearch.training.averaging import Averaging
from raysearch.training.checkpoints import Checkpoint, Loop
from raysearch.training.device import seed_all
from raysearch.training.job import Job
from raysearch.training.score import Trained


@dataclass
class Member:
    """A training in a pack. `number` is its place among those that were asked for, whatever its place in the pack.

    `noise`, `order` and `drawn` are its generators: of losses, of the order of batches, and of the network itself, as
    torch's own generator is in a lone training after the network has been built.
    """

    number: int
    job: Job
    module: nn.Module
    trained: Trained
    order: torch.Generator
    noise: torch.Generator
    drawn: torch.Generator
    soft: Tensor | None = None
    kept: Checkpoint | None = None
    seconds: float = 0.0
    started: dict[str, Any] = field(default_factory=dict)
    """State of optimizer and average that a checkpoint held."""

    @classmethod
    def of(cls, number: int, job: Job, seed: int, n_scored: int, device: torch.device) -> Member:
        """Return a member at its start, built from `seed` on `device`; torch's own generators stay as they are."""
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            seed_all(seed, device)
            module = job.build().to(device)
            drawn = torch.Generator(device)
            drawn.set_state(torch.cuda.get_rng_state(device) if cuda else torch.get_rng_state())
        order, noise = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed ^ 1)
        return cls(number, job, module, Trained(module, n_scored), order, noise, drawn)

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return len(self.trained.curve)

    @property
    def group(self) -> Hashable:
        """What neighbours in a pack that take their steps together have in common."""
        recipe = self.job.recipe
        return recipe.lr, recipe.weight_decay, recipe.momentum, recipe.schedule, recipe.warmup_epochs

    def alone(self, epochs: int) -> Loop:
        """Return the loop of a lone training at its start, around this member's network and generators."""
        recipe = self.job.recipe
        optimizer = alone.optimizer(self.module, recipe)
        averaging = Averaging(self.module, recipe, epochs)
        return Loop(self.module, optimizer, averaging, {"order": self.order, "noise": self.noise}, self.trained)

    def leave(self) -> None:
        """Take its numbers along: from now on nothing of the pack is kept in memory by its network."""
        for values in (*self.module.parameters(), *self.module.buffers()):
            values.data = values.data.clone()


def sorted_for_packs(members: list[Member]) -> list[Member]:
    """Return the members in an order in which those of one recipe are neighbours."""

    def recipe(member: Member) -> tuple[str, str, int]:
        loss = member.job.recipe.loss_parameters
        return repr(sorted(loss.items())), repr(member.group), member.number

    return sorted(members, key=recipe)
