"""What an instance's loss, weights and metrics are those of: its last epoch, or its best one."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from torch import Tensor, nn

N_RECENT = 5
"""Last epochs over which an instance's local instability is measured."""


@dataclass
class Best:
    """A copy of the network that was scored after the epoch of the lowest loss, and its outputs; empty before one."""

    state: dict[str, Tensor] = field(default_factory=dict)
    recent: list[Tensor] = field(default_factory=list)

    def take(self, module: nn.Module, recent: deque[Tensor]) -> None:
        """Take the place of the best so far."""
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}
        self.recent = list(recent)


@dataclass
class Trained:
    """A network in training or after it, with its losses by epoch.

    `epoch` (from 1) is the one that `module` and its outputs are those of, 0 while it trains; `recent` are the outputs
    for the validation set after the last N_RECENT epochs up to it, and `best` what may be returned to.
    """

    module: nn.Module
    curve: list[float] = field(default_factory=list)
    train_curve: list[float] = field(default_factory=list)
    recent: deque[Tensor] = field(default_factory=lambda: deque(maxlen=N_RECENT))
    best: Best = field(default_factory=Best)
    epoch: int = 0

    @property
    def outputs(self) -> Tensor:
        """The network's outputs for the validation set."""
        return self.recent[-1]

    @property
    def loss(self) -> float:
        """The instance's loss; not finite where the training diverged, whatever its best epoch was."""
        return self.curve[self.epoch - 1] if math.isfinite(self.curve[-1]) else self.curve[-1]

    def judge(self, loss: float, scored: nn.Module, recent: Tensor, keep_best: bool) -> None:
        """Take in an epoch: its validation loss, the network that was scored, and its outputs."""
        self.recent.append(recent)
        self.curve.append(loss)
        if keep_best and loss < min(self.curve[:-1], default=math.inf):
            self.best.take(scored, self.recent)

    def settle(self) -> None:
        """Let the result be that of the best epoch, where one was kept."""
        self.epoch = len(self.curve)
        if self.best.state:
            self.epoch = self.curve.index(min(self.curve)) + 1
            self.module.load_state_dict(self.best.state)
            self.recent = deque(self.best.recent, maxlen=N_RECENT)
