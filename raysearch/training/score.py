"""Which epochs an instance's loss, weights and metrics are those of: the last, the best, or several. No torch."""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from raysearch.errors import ExperimentError, unknown

if TYPE_CHECKING:  # torch takes seconds to import, and settings are checked without it
    from torch import Tensor, nn

N_RECENT = 5
"""Last epochs over which an instance's local instability is measured."""
SCORING_BATCH = 2048
"""Examples that a network is asked about at once when it is scored."""
BEST = 0
_MEAN = re.compile(r"mean_last_([1-9][0-9]*)")


def n_scored(score: str) -> int:
    """Return over how many last epochs the loss is a mean: 1 for `last`, k for `mean_last_k`, BEST for `best`.

    Raises UnknownNameError for anything else.
    """
    if score in ("last", "best"):
        return BEST if score == "best" else 1
    found = _MEAN.fullmatch(score)
    if found is None:
        raise unknown("score", score, ("last", "best", "mean_last_5"))
    return int(found[1])


def check_score(score: str, epochs: int, patience: int | None) -> None:
    """Raise ExperimentError unless instances of so many epochs can be scored so."""
    n = n_scored(score)
    if n > epochs:
        raise ExperimentError(f"score = {score}, but an instance has {epochs} epochs")
    if patience is None:
        return
    if score not in ("last", "best"):
        raise ExperimentError(
            f"patience = {patience} makes the best epoch the result: leave score = {score} out, or the patience"
        )


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
    for the validation set after the last N_RECENT epochs up to it, and `best` what is returned to where the loss is
    that of the best epoch. `n_scored` is as the function of that name returns it.
    """

    module: nn.Module
    n_scored: int = 1
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
        if not math.isfinite(self.curve[-1]):
            return self.curve[-1]
        if self.n_scored == BEST:
            return self.curve[self.epoch - 1]
        scored = self.curve[-self.n_scored :]
        return scored[0] if len(scored) == 1 else math.fsum(scored) / len(scored)

    def judge(self, loss: float, scored: nn.Module, outputs: Tensor) -> None:
        """Take in an epoch: its validation loss, the network that was scored, and its outputs."""
        self.recent.append(outputs)
        self.curve.append(loss)
        if self.n_scored == BEST and loss < min(self.curve[:-1], default=math.inf):
            self.best.take(scored, self.recent)

    def settle(self) -> None:
        """Let the network be that of the best epoch, where the loss is."""
        self.epoch = len(self.curve)
        if self.best.state:
            self.epoch = self.curve.index(min(self.curve)) + 1
            self.module.load_state_dict(self.best.state)
            self.recent = deque(self.best.recent, maxlen=N_RECENT)
