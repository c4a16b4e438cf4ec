"""What a training reports to: it keeps the curve, and ends a first instance above a rung's cutoff."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class ScreenedOut(BaseException):
    """Raised inside a training, from its report, at a rung. No Exception, so that no workload's handler swallows it."""

    def __init__(self, curve: tuple[float, ...], cutoff: float) -> None:
        super().__init__(f"loss {curve[-1]} after {len(curve)} epochs is above {cutoff}")
        self.curve, self.cutoff = curve, cutoff


class Watch:
    """A workload's `report` that keeps the curve and ends the training above a rung's cutoff.

    `checkpoints`, a folder and the least seconds between two writes, is where a workload that can may keep its state.
    """

    def __init__(
        self,
        cutoffs: Mapping[int, float],
        before: Callable[[int, float], None] | None = None,
        checkpoints: tuple[str, float] | None = None,
    ) -> None:
        self.cutoffs, self.before, self.checkpoints = cutoffs, before, checkpoints
        self.curve: list[float] = []

    def alike(self) -> Watch:
        """Return another watch of the same settings, with a curve of its own."""
        return Watch(self.cutoffs, self.before, self.checkpoints)

    def __call__(self, epoch: int, loss: float) -> None:
        """Take in the loss after an epoch, counted from 1."""
        if self.before is not None:
            self.before(epoch, loss)
        if not self.cutoffs:
            return
        self.curve.append(float(loss))
        cutoff = self.cutoffs.get(len(self.curve))
        if cutoff is not None and not loss <= cutoff:  # NaN is above every cutoff
            raise ScreenedOut(tuple(self.curve), cutoff)
