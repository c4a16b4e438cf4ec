"""Early stopping inside an instance, for screening only: a configuration's first instance may end at a rung.

A configuration whose first instance is stopped is out; one that passes keeps that instance, trained to its end. So
criteria are always computed from whole trainings. Which configurations pass depends on what has finished when a first
instance starts, hence on the number of workers: screening is off unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from raysearch.registry import Validated


@dataclass(frozen=True)
class Screening(Validated):
    """When a first instance is pointless, judged by the curves of those before it.

    Args:
        rule: `median` stops the worse half at a rung (Golovin et al. 2017), `halving` all but the best `1 / factor`
            (asynchronous successive halving, Li et al. 2020).
        first_epoch: the first rung, in epochs, at least 1; each next one is `factor` times as late.
        factor: at least 2.
        n_startup: curves that must have reached a rung before it stops anything, at least 2.
    """

    rule: Literal["median", "halving"] = "median"
    first_epoch: Annotated[int, Ge(1)] = 1
    factor: Annotated[int, Ge(2)] = 3
    n_startup: Annotated[int, Ge(2)] = 8

    def cutoffs(self, curves: Sequence[Sequence[float]]) -> dict[int, float]:
        """Return, by epoch, the loss above which a first instance ends, by the `curves` of earlier first instances."""
        share = 0.5 if self.rule == "median" else 1 / self.factor
        found: dict[int, float] = {}
        epoch, last = self.first_epoch, max((len(curve) for curve in curves), default=0)
        # at its last epoch an instance is paid for already
        while epoch < last:
            reached = [curve[epoch - 1] for curve in curves if len(curve) >= epoch]
            if len(reached) < self.n_startup:
                break
            losses = np.sort(np.nan_to_num(np.asarray(reached, dtype=np.float64), nan=np.inf))
            found[epoch] = float(losses[max(int(np.ceil(share * len(losses))) - 1, 0)])
            epoch *= self.factor
        return found
