"""Figures of the search space: criteria compared, spread against level, what each parameter does.

All of them use the same number of instances of every configuration, so that survivors have no advantage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from raysearch.analysis import plots, verdict
from raysearch.analysis.results import FARTHEST, Results, text_of
from raysearch.criteria._statistics import mean, quantile
from raysearch.criteria.q3_plus_iqr import Q3PlusIqr

Array = NDArray[np.float64]

SIX: dict[str, Callable[[Array], Any]] = {
    "min": lambda losses: quantile(losses, 0.0),
    "median": lambda losses: quantile(losses, 0.5),
    "mean": mean,
    "q3": lambda losses: quantile(losses, 0.75),
    "q3_plus_iqr": Q3PlusIqr(),
    "max": lambda losses: quantile(losses, 1.0),
}
"""The six criteria that the paper compares."""


def _common(results: Results) -> Array:
    return results.matrix[:, : results.n_common]


def _thin(values: Array, n: int = 300) -> tuple[Array, Array]:
    """Return at most `n` points of the distribution function of `values`: sorted values and shares."""
    rows = np.unique(np.linspace(0, len(values) - 1, min(n, len(values))).astype(int))
    return np.sort(values)[rows], (rows + 1) / len(values)


@plots.styled
def criteria_curves(results: Results) -> plots.Figure | None:
    """Draw, for the six criteria of the paper, the share of configurations with a criterion below x."""
    if len(results.ids) < 2 or results.n_common < 1:
        return None
    values = {name: np.asarray(criterion(_common(results))) for name, criterion in SIX.items()}
    figure, (axes,) = plots.canvas()
    finite = np.concatenate([v[np.isfinite(v)] for v in values.values()])
    if not len(finite):
        return None
    for (name, row), color in zip(values.items(), plots.PALETTE, strict=False):
        x, share = _thin(row)
        x, share = x[np.isfinite(x)], share[np.isfinite(x)]
        foot = [0.0] if len(x) else []  # +inf for every configuration: nothing to draw but its name
        axes.step([*x[:1], *x], [*foot, *share], where="post", color=color, lw=1.8, label=name)
    plots.scale(axes, finite, "x", ratio=5)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel(plots.label(f"criterion x of {results.loss_label}"))
    axes.set_ylabel("configurations below x")
    axes.legend(loc="lower right")
    note = plots.beyond(int(np.isposinf(values["max"]).sum()), "max value", "▶")
    half = verdict.number(float(quantile(values["q3"], 0.5)))
    each = f"{results.n_common} instance{'s' if results.n_common > 1 else ''}"
    plots.title(axes, f"Half of {len(results.ids):,} configurations have q3 below {half} ({each} each)", 60, note)
    return figure


@plots.styled
def spread_against_level(results: Results, n: int = 8) -> plots.Figure | None:
    """Draw the interquartile range against the median of every configuration, the last `n` marked."""
    if len(results.ids) < 3 or results.n_common < 3:
        return None
    losses = _common(results)
    level, q3 = np.asarray(quantile(losses, 0.5)), np.asarray(quantile(losses, 0.75))
    with np.errstate(invalid="ignore"):
        spread = q3 - np.asarray(quantile(losses, 0.25))
    good = np.isfinite(level) & np.isfinite(spread)
    if good.sum() < 3:
        return None
    figure, (axes,) = plots.canvas()
    axes.plot(level[good], spread[good], ".", color=plots.GREY, ms=4, alpha=0.5, rasterized=True)
    rows = [results.ids.index(name) for name in results.finalists(n)]
    rows = [row for row in rows if good[row]]
    axes.plot(level[rows[1:]], spread[rows[1:]], "o", color=plots.PALETTE[1], ms=6, label="last in the race")
    axes.plot(level[rows[:1]], spread[rows[:1]], "*", color=plots.PALETTE[0], ms=15, label="leader")
    plots.scale(axes, level[good], "x", ratio=5)
    plots.scale(axes, spread[good], "y", ratio=5)
    axes.set_xlabel(plots.label(f"level: median of {results.loss_label}"))
    axes.set_ylabel("spread: interquartile range")
    axes.legend(loc="upper left")
    note = plots.beyond(int((~good).sum()), "configuration", "▶")
    both_vary = np.ptp(spread[good]) > 0 and np.ptp(level[good]) > 0
    rho = float(stats.spearmanr(level[good], spread[good]).statistic) if both_vary else 0.0
    grows = "grows with" if rho > 0.3 else "falls with" if rho < -0.3 else "hardly depends on"
    each = f"({results.n_common} instances each)"
    finding = (
        f"Spread {grows} level: rank correlation {rho:.2f} {each}" if good.sum() >= 10 else f"Spread and level {each}"
    )
    plots.title(axes, finding, 60, note)
    return figure


def effects(results: Results) -> dict[str, tuple[float, list[tuple[str, Array]]]]:
    """Return by parameter: its share of rank variance, and the criteria of configurations by its value.

    The share is epsilon squared of a one-way analysis of ranks (chance subtracted, never below 0): how well the value
    of this parameter alone foretells the rank. Shares of parameters that act together do not add up, and in a pool
    that is no full grid they are confounded. Strongest first. Source: Kelley 1935; Tomczak & Tomczak 2014.
    """
    values = np.array([float(results.criterion(row)) for row in _common(results)])
    ranks = stats.rankdata(values, nan_policy="omit")
    found = {}
    for name in results.varied:
        groups = _groups(pd.Series([results.parameters[i].get(name) for i in results.ids], dtype=object))
        if len(groups) > 1:
            found[name] = (_explained(ranks, groups), [(text, values[rows]) for text, rows in groups])
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def _groups(column: pd.Series[Any], n_most: int = 8) -> list[tuple[str, NDArray[np.intp]]]:
    """Return the rows of each value of a parameter: numbers in order, five bins of them where there are many."""
    used = np.array([value is not None for value in column])
    values = [value for value in column if value is not None]
    texts = np.array([text_of(value) if value is not None else "" for value in column], dtype=object)
    kinds = list(dict.fromkeys(texts[used].tolist()))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        if len(kinds) > n_most:
            bins = pd.qcut([_near(value) for value in values], 5, duplicates="drop")
            names = np.array([f"≤ {interval.right:.3g}" for interval in bins.categories])
            texts[used], kinds = names[bins.codes], list(dict.fromkeys(names.tolist()))
        else:
            kinds.sort(key=float)
    elif len(kinds) > n_most:
        kinds = sorted(kinds, key=lambda kind: -int((texts == kind).sum()))[:n_most]
    groups = [(kind, np.flatnonzero(used & (texts == kind))) for kind in kinds]
    return groups if used.all() else [*groups, ("not used", np.flatnonzero(~used))]


def _near(value: float) -> float:
    """Return a number that bins can hold: whole numbers may have hundreds of digits."""
    return float(min(max(value, -FARTHEST), FARTHEST))


def _explained(ranks: Array, groups: list[tuple[str, NDArray[np.intp]]]) -> float:
    used = np.concatenate([rows for _, rows in groups])
    total = float(((ranks[used] - ranks[used].mean()) ** 2).sum())
    within = float(sum(((ranks[rows] - ranks[rows].mean()) ** 2).sum() for _, rows in groups if len(rows)))
    n, k = len(used), len(groups)
    if total == 0 or n <= k:
        return 0.0
    return max(0.0, 1 - (within / (n - k)) / (total / (n - 1)))


@plots.styled
def parameter_effects(results: Results, n: int = 6) -> plots.Figure | None:
    """Draw the criterion by value of the `n` parameters that tell most about the rank."""
    if len(results.ids) < 8 or results.n_common < 1 or not (found := effects(results)):
        return None
    chosen = list(found.items())[:n]
    if not any(np.isfinite(values).any() for _, values in chosen[0][1][1]):
        return None
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure, grid = plots.canvas(plots.WIDE, 0.9 + rows * 2.3, rows, columns)
    everything = np.concatenate([values for _, (_, groups) in chosen for _, values in groups])
    for axes, (name, (share, groups)) in zip(grid, chosen, strict=False):
        plots.boxes(axes, [values for _, values in groups], [plots.PALETTE[0]] * len(groups))
        axes.set_yticks(range(len(groups)), [plots.label(text, 18) for text, _ in groups])
        if not plots.scale(axes, everything, "x", ratio=5):
            axes.set_xlim(*plots.shown(everything, 0.04))
        else:
            low, high = plots.shown(everything)
            axes.set_xlim(low * 0.93, high * 1.07)
        axes.set_title(plots.label(f"{name}: {share:.0%}", 40), fontsize=10.5)
    for axes in grid[len(chosen) :]:
        axes.set_axis_off()
    for axes in grid[max(len(chosen) - columns, 0) : len(chosen)]:
        axes.set_xlabel(plots.label(results.criterion_name, 40))
    first = chosen[0]
    head = f"{first[0]} alone explains {first[1][0]:.0%} of the ranking ({results.n_common} instances each)"
    figure.suptitle(plots.label(head), x=0.01, ha="left", fontweight="bold", fontsize=11.5)
    return figure
