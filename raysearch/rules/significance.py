"""Rule `significance`: the authors' improved rule, a test against the best survivor."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from scipy import stats

from raysearch.criteria import Criterion
from raysearch.registry import Validated
from raysearch.rules import Decision, Elimination, RuleVerdict
from raysearch.rules._rounds import open_round

Array = NDArray[np.float64]


def _welch(others: Array, best: Array) -> Any:
    return stats.ttest_ind(others, best[None, :], axis=1, equal_var=False).pvalue


def _mann_whitney(others: Array, best: Array) -> Any:
    return stats.mannwhitneyu(others, best[None, :], axis=1, alternative="two-sided").pvalue


def _row_by_row(test: Callable[[Array, Array], Any]) -> Callable[[Array, Array], Any]:
    def p_values(others: Array, best: Array) -> Any:
        return [test(row, best).pvalue for row in others]

    return p_values


_TESTS: dict[str, Callable[[Array, Array], Any]] = {
    "welch": _welch,
    "mann_whitney": _mann_whitney,
    "kolmogorov_smirnov": _row_by_row(stats.ks_2samp),
    "bartlett": _row_by_row(stats.bartlett),
    "levene": _row_by_row(stats.levene),
    "fligner": _row_by_row(stats.fligner),
}
_RANKS = ("mann_whitney", "kolmogorov_smirnov")
"""Tests that only compare, so that a diverged instance takes part as the worst of all."""


@dataclass(frozen=True)
class Significance(Validated):
    """Each round drops every survivor whose losses differ significantly from those of the best survivor.

    All survivors train one instance per round; from round `warmup` on, the best is the one of the least criterion, and
    whoever's two-sided test against it has p < `alpha` is out. It ends with one survivor, after `max_instances`
    instances each, or, where `patience` is set, after so many rounds in a row without a cut: in a set that cannot be
    told apart, led by the one of the least criterion (ties: the order of the configurations).
    `test`: welch, mann_whitney, kolmogorov_smirnov (location); bartlett, levene, fligner (width). A test of widths also
    drops those that vary *less* than the best: take it with criterion std. Diverged instances are the greatest ranks
    in the tests of ranks; the other four need finite losses, so there a configuration with a diverged instance is out
    if the best has none, and is never tested if the best has one too. No correction for multiple tests: p < alpha says
    nothing about the confidence of the whole, so the verdict states none.
    Raises ValueError unless 0 < alpha < 1, 2 <= warmup <= max_instances and patience >= 1.
    Source: Boldyrev et al., CHEP 2026, the improved rule.
    """

    test: Literal["welch", "mann_whitney", "kolmogorov_smirnov", "bartlett", "levene", "fligner"] = "welch"
    alpha: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    warmup: Annotated[int, Ge(2)] = 3  # one instance has no spread
    max_instances: Annotated[int, Ge(2)] = 20
    patience: Annotated[int, Ge(1)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_instances < self.warmup:
            raise ValueError(f"max_instances must be at least warmup ({self.warmup}), got {self.max_instances}")

    def decide(self, losses: Array, pending: NDArray[np.intp], criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)`; see the room's contract."""
        survivors = np.arange(len(losses))
        cuts: list[Elimination[int]] = []
        idle = 0
        for n_instances in range(self.warmup, self.max_instances + 1):
            waiting = open_round(losses, pending, criterion, survivors, n_instances, len(survivors))
            if waiting is not None:
                return replace(waiting, eliminated=tuple(cuts), round=n_instances)
            round_ = losses[survivors, :n_instances]
            values = np.asarray(criterion(round_))
            best = int(np.argsort(values, kind="stable")[0])
            p = _p_values(self.test, np.where(np.isneginf(round_), np.inf, round_).tobytes(), len(round_), best)
            out = np.flatnonzero((p < self.alpha) | np.isneginf(round_).any(axis=1))
            idle = 0 if len(out) else idle + 1
            if len(out):
                cuts.append(_cut(survivors, values, out, n_instances))
            last = n_instances == self.max_instances or len(out) == len(survivors) - 1 or idle == self.patience
            leader = int(survivors[best])
            survivors = np.delete(survivors, out)
            if last:
                break
        same = tuple(survivors.tolist())
        verdict = RuleVerdict(leader, same, note=self._note(len(same)), n_instances=n_instances)
        return Decision((), tuple(cuts), verdict, n_instances)

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the least and the greatest number of instances the rule can ask for."""
        most = self.warmup if n_configurations == 1 else self.max_instances
        return n_configurations * self.warmup, n_configurations * most

    def _note(self, n: int) -> str:
        if n == 1:
            return ""
        return (
            f"{n} configurations cannot be told apart ({self.test}, alpha {self.alpha}); the leader's criterion is best"
        )


@lru_cache(maxsize=128)
def _p_values(test: str, losses_as_bytes: bytes, n_rows: int, best: int) -> Array:
    """Return p of each row of the losses against row `best`: 1 where the test can say nothing, 0 for a sure loser.

    Kept, because every look at a growing matrix goes through the same finished rounds.
    """
    losses = np.frombuffer(losses_as_bytes).reshape(n_rows, -1)
    n_diverged = np.count_nonzero(np.isposinf(losses), axis=1)
    tested = np.arange(n_rows) != best
    p = np.ones(n_rows)
    if test in _RANKS:  # of a diverged instance only the rank counts
        top = losses[np.isfinite(losses)].max(initial=0.0) + 1.0
        comparable = np.where(np.isposinf(losses), top, losses)
    else:
        if n_diverged[best]:
            return p
        comparable = losses
        tested &= n_diverged == 0
        p[n_diverged > 0] = 0.0
    rows = np.flatnonzero(tested & ~(losses == losses[best]).all(axis=1))
    if len(rows):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant rows and ties: their p is NaN and is read as 1
            found = np.asarray(_TESTS[test](comparable[rows], comparable[best]), dtype=np.float64)
        p[rows] = np.where(np.isnan(found), 1.0, found)
    p.flags.writeable = False
    return p


def _cut(survivors: NDArray[np.intp], values: Array, out: NDArray[np.intp], n_instances: int) -> Elimination[int]:
    """Return the elimination; its cutoff is the worst value of those that stay."""
    kept = np.delete(values, out)
    rows = tuple(survivors[out].tolist())
    return Elimination(n_instances, float(kept.max()), n_instances, rows, tuple(values[out].tolist()))
