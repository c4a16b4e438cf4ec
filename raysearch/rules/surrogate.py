"""Rule `surrogate`: train only the configurations that their neighbours speak for, then certify the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.registry import Validated
from raysearch.rules import Decision
from raysearch.rules._finalists import Finalists
from raysearch.rules._informed import STEPS, Informed
from raysearch.rules._lessons import Lesson, Lessons

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Surrogate(Validated):
    """Learns from hyperparameters which configurations to train at all; the best of them race by `top_two`.

    1. `start` configurations at random train one instance, a third of them two (as many as the criterion needs, at
       least). Up to `start` configurations in all it is `top_two`.
    2. A surface is learnt: criterion = main effects + pairs + a part that nobody can learn. Numbers enter by smooth
       shapes, on a logarithmic scale where their values are spaced so, choices by one column each, parameters whose
       condition does not hold by that alone. Its target is the criterion of the losses' logarithms, small-sample bias
       taken off, each with its own standard error; the spread within configurations is learnt likewise, once 40 of
       them have two instances. The bad half is compressed, and what diverged or failed counts as the worst loss
       there is. Then `batch` draws of the whole surface name one untrained configuration each,
       their best: these train their first instance.
    3. That ends when the surface gives less than `doubt` that an untrained configuration is more than `delta` better
       than the best trained one (or at `explore` configurations). Who was not trained is out. By the surface, their own
       instances counted, the best 4 `finalists` train a second instance; then a third, and then race by `top_two`, as
       many as cannot be told from the best: by draws of the surface, one of the others is more than `delta` better
       than all of them with a probability of .02 at most. 2 `finalists` at least have a third instance and `finalists`
       race, twice and three times as many at most, on no more instances than `finalists` of them would have at `cap`.
    4. The certificate comes from trained instances alone: P is about the finalists. The verdict says how many
       configurations were never trained, and what the surface says of them: that is no certificate.

    Decisions follow from the matrix, the hyperparameters and the search's seed; with a `window` (see `top_two`) they
    are the same on any cluster. Several objectives: one criterion steers, the Pareto set is of what was trained. Each
    wave of a sampler is explored by itself. `delta` to `window` are those of `top_two`; `budget` counts all instances
    of a wave, the first ones of `start` configurations at least. Raises ValueError for values out of range, and in
    `plan` if `budget` is below `start`, or, with fewer configurations than that, below their number.
    Source: ours; Thompson sampling in batches as in Kandasamy et al. 2018, additive and pairwise kernel as in Duvenaud
    et al. 2011.
    """

    delta: Annotated[float, Ge(0)] = 0.01
    confidence: Annotated[float, Interval(gt=0, lt=1)] = 0.95
    start: Annotated[int, Ge(8)] = 64
    batch: Annotated[int, Ge(1)] = 32
    doubt: Annotated[float, Interval(ge=0, lt=1)] = 0.01
    explore: Annotated[int, Ge(8)] | None = None
    finalists: Annotated[int, Ge(2)] = 16
    certify: Annotated[int, Ge(1)] = 20
    cap: Annotated[int, Ge(4)] = 100
    prior_dof: Annotated[float, Gt(0)] = 6.0
    budget: Annotated[int, Ge(1)] | None = None
    window: Annotated[int, Ge(1)] | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cap < self.certify:
            raise ValueError(f"cap must be at least certify ({self.certify}), got {self.cap}")
        if self.explore is not None and self.explore < self.start:
            raise ValueError(f"explore must be at least start ({self.start}), got {self.explore}")

    @property
    def keep(self) -> int:
        """So many configurations at most race by `top_two`."""
        return max(3 * self.finalists, self.start)

    @property
    def wanted_window(self) -> int | Literal["auto"] | None:
        """The window."""
        return self.window

    def decide(self, losses: Array, pending: Rows, criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)` alone, without hyperparameters: as `top_two` does."""
        return self.race(self.budget).decide(losses, pending, criterion)

    def informed(
        self, configurations: Sequence[Mapping[str, Any]], seed: int, lessons: Sequence[Lesson] = ()
    ) -> Informed:
        """Return this rule with the hyperparameters of the rows to come, and the seed of its random choices.

        `lessons` are earlier searches of the same workload: so many configurations less are tried at random, a quarter
        of `start` at least, and the surface is learnt from both.
        """
        return Informed(self, *Lessons.of(configurations, lessons, seed))

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the least and the greatest number of instances, for a criterion that one instance gives."""
        if n_configurations <= self.start:
            return self.race(self.budget).plan(n_configurations)
        if self.budget is not None and self.budget < self.start:
            raise ValueError(
                f"a budget of {self.budget} instances cannot train the first {self.start} configurations (start): "
                f"raise the budget to at least {self.start}, or lower start"
            )
        return self.bounds(n_configurations, self.start)

    def bounds(self, n_configurations: int, start: int) -> tuple[int, int]:
        """Return the least and the greatest number of instances where so many configurations are tried at random."""
        f, n, twice = self.finalists, min(self.explore or n_configurations, n_configurations), -(-start // 3)
        least = start + twice + max(self.certify - STEPS, 0)
        most = n + min(4 * f, n) + min(4 * f, n) + twice + min(f, n) * max(self.cap - STEPS, 0) + min(f, start)
        return (least, most) if self.budget is None else (min(least, self.budget), min(most, self.budget))

    def race(self, budget: int | None, first: int = 1, bound: str = "") -> Finalists:
        """Return the rule of the finalists, who have `first` instances each; `bound` names a budget that is not one."""
        return Finalists(
            delta=self.delta,
            confidence=self.confidence,
            warmup=first,
            keep=max(256, self.keep),
            certify=self.certify,
            cap=self.cap,
            prior_dof=self.prior_dof,
            budget=budget,
            window=self.window,
            bound=bound,
        )
