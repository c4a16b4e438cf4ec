"""Figures of the race itself: the last configurations' losses, trajectories, instances spent, learning curves."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raysearch.analysis import plots
from raysearch.analysis.results import Results, text_of
from raysearch.analysis.savings import Savings
from raysearch.criteria._statistics import quantile
from raysearch.records import Phase, Status


def differing(results: Results, names: list[str]) -> list[str]:
    """Return the parameters in which the configurations `names` differ."""
    parameters = [results.parameters.get(name, {}) for name in names]
    return [key for key in results.varied if len({repr(p.get(key)) for p in parameters}) > 1]


def short_labels(results: Results, names: list[str], width: int = 64) -> dict[str, str]:
    """Return a line for each of `names`: the start of its id and its values of the `differing` parameters."""
    keys = differing(results, names)
    values = {name: [text_of(p[k]) for k in keys if k in (p := results.parameters.get(name, {}))] for name in names}
    return {name: plots.label(f"{name[:6]}  {' · '.join(values[name])}", width) for name in names}


@plots.styled
def loss_boxes(results: Results, n: int = 8) -> plots.Figure | None:
    """Draw box plots of the last `n` configurations' losses, the winner's confirmation beside its race."""
    names = results.finalists(n)
    if not names:
        return None
    if not any(np.isfinite(results.losses(name)).any() for name in names):
        return None  # nothing but +inf
    labels = short_labels(results, names)
    rows = [(labels[name], results.losses(name), _color(rank)) for rank, name in enumerate(names)]
    fresh = results.losses(names[0], Phase.CONFIRMATION)
    if len(fresh):
        rows[0] = (f"{labels[names[0]]}\nin the race", rows[0][1], plots.PALETTE[0])
        rows.insert(0, (f"{labels[names[0]]}\nconfirmed, fresh seeds", fresh, plots.PALETTE[0]))
    figure, (axes,) = plots.canvas(plots.WIDE, 1.4 + 0.44 * len(rows))
    plots.boxes(axes, [losses for _, losses, _ in rows], [color for *_, color in rows], points=True)
    values = [float(results.criterion(losses)) for _, losses, _ in rows]
    axes.plot(values, range(len(rows)), "D", color=plots.INK, markersize=5, label=results.criterion_name)
    axes.set_yticks(range(len(rows)), [f"{text}  (n = {len(losses)})" for text, losses, _ in rows])
    axes.set_xlabel(plots.label(results.loss_label))
    finite = np.concatenate([losses[np.isfinite(losses)] for _, losses, _ in rows])
    if plots.scale(axes, finite, "x"):
        axes.set_xlim(finite.min() * 0.9, finite.max() * 1.1)
    _diverged(axes, [losses for _, losses, _ in rows])
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    plots.title(axes, _box_title(results, values, len(fresh)), 110)
    return figure


def _diverged(axes: plots.Axes, groups: list[NDArray[np.float64]]) -> None:
    for y, losses in enumerate(groups):
        if n_bad := int(np.isposinf(losses).sum()):
            axes.annotate(
                f"{n_bad} at +inf ▶", (1, y), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=8.5,
                color=plots.PALETTE[1],
            )  # fmt: skip


def _box_title(results: Results, values: list[float], n_fresh: int) -> str:
    name = results.criterion_name
    if n_fresh:
        return f"Winner: {name} {values[0]:.4g} over {n_fresh} fresh instances; the race had said {values[1]:.4g}"
    role = "Winner" if results.verdict else "Leader so far"
    rest = f"; the next best here {min(values[1:]):.4g}" if len(values) > 1 else ""
    return f"{role}: {name} {values[0]:.4g} over its race instances{rest}"


def _color(rank: int) -> str:
    return plots.PALETTE[rank % len(plots.PALETTE)]


@plots.styled
def trajectories(results: Results, n: int = 8) -> plots.Figure | None:
    """Draw the criterion of every configuration at the end of every round; beside it the last `n` alone, enlarged."""
    table = pd.DataFrame(results.scored, columns=["round", "id", "value"])
    if not np.isfinite(table["value"].to_numpy(dtype=float)).any():
        return None
    known = set(table["id"])
    names = [name for name in results.finalists(n) if name in known]
    all_shown = len(names) == len(known)
    figure, panels = plots.canvas(plots.WIDE, 5.2, 1, 1 if all_shown else 2)
    left, right = panels[0], panels[-1]
    _panel(left, results, table, table["value"].to_numpy(), names)
    if not all_shown:
        _panel(right, results, table, _near(table[table["id"].isin(names)]), names)
        plots.title(right, f"The last {len(names)}, enlarged", 66)
    left.set_ylabel(plots.label(f"{results.criterion_name} of {results.loss_label}"))
    handles, texts = right.get_legend_handles_labels()
    if handles:
        figure.legend(handles[::-1], texts[::-1], loc="outside lower center", ncols=9)
    note = plots.beyond(int(np.isposinf(table.groupby("id")["value"].last()).sum()), "configuration")
    plots.title(left, _trajectory_title(results, table), 66, note)
    return figure


def _near(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the values that an enlarged panel must show: each end, and what is not far above; outliers are cut."""
    ends = table.groupby("id")["value"].last()
    ends = ends[np.isfinite(ends)]
    high = ends.max() + 0.5 * (ends.max() - ends.min()) if len(ends) else math.inf
    values = table["value"].to_numpy(dtype=float)
    return np.asarray(values[values <= max(high, values[np.isfinite(values)].min(initial=math.inf))])


def _panel(
    axes: plots.Axes, results: Results, table: pd.DataFrame, values: NDArray[np.float64], names: list[str]
) -> None:
    """Draw all trajectories of `table`, on an axis for the finite ones of `values`; what is above lies on its top."""
    low, high = plots.shown(values)
    logarithmic = plots.scale(axes, values)
    top = high * (high / low) ** 0.06 if logarithmic else high + 0.06 * (high - low)
    bottom = low * (low / high) ** 0.04 if logarithmic else low - 0.04 * (high - low)
    paths = _paths(table, top)
    plots.lines(axes, [path for name, path in paths.items() if name not in names], alpha=0.25 + 0.5 / len(paths) ** 0.5)
    for rank, name in reversed(list(enumerate(names))):
        axes.plot(*paths[name].T, color=_color(rank), lw=1.5 if rank else 2.6, marker="o", ms=3.5, label=name[:6])
    cuts = {cut.round: cut.cutoff for cut in results.eliminations if cut.configurations and cut.cutoff <= top}
    if cuts:
        axes.plot(
            list(cuts), list(cuts.values()), ls="none", marker="_", ms=13, mew=2.2, color=plots.INK, label="cutoff"
        )
    axes.set_xlim(table["round"].min() - 0.4, table["round"].max() + 0.4)
    axes.set_ylim(bottom, top)
    plots.count_axis(axes)
    axes.set_xlabel("round")


def _paths(table: pd.DataFrame, top: float) -> dict[str, NDArray[np.float64]]:
    table = table.sort_values(["id", "round"], kind="stable")
    points = np.column_stack([table["round"], table["value"].clip(upper=top).fillna(top)])
    names, starts = np.unique(table["id"].to_numpy(dtype=str), return_index=True)
    return dict(zip(names.tolist(), np.split(points, starts[1:]), strict=True))


def _trajectory_title(results: Results, table: pd.DataFrame) -> str:
    n_rounds, n_all = table["round"].nunique(), table["id"].nunique()
    n_left = max(n_all - sum(len(cut.configurations) for cut in results.eliminations if cut.n_instances), 1)
    end = "" if results.verdict else " so far (race not finished)"
    left = "configuration" if n_all == 1 else "configurations"
    return f"{n_all:,} {left}, {n_left:,} left after {n_rounds} round{'s' if n_rounds > 1 else ''}{end}"


@plots.styled
def instances_per_step(results: Results, spent: Savings) -> plots.Figure | None:
    """Draw how many configurations trained their s-th instance, on a log axis, against exhaustive search."""
    if not spent.steps:
        return None
    figure, (axes,) = plots.canvas()
    number = np.array([step.number for step in spent.steps])
    n = np.array([step.n_instances for step in spent.steps])
    end = max(spent.n_each, int(number[-1]))
    axes.fill_between(
        [0.5, end + 0.5], 0.7, spent.n_configurations, color=plots.GREY, alpha=0.15, lw=0,
        label=f"exhaustive search: {spent.n_exhaustive:,}",
    )  # fmt: skip
    axes.bar(number, n - 0.7, bottom=0.7, width=0.86, color=plots.PALETTE[0], label=f"race: {spent.n_race:,}")
    plots.scale(axes, [1, 3 * spent.n_configurations], ratio=1)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0.7, max(spent.n_configurations, n.max()) * 3)
    axes.set_xlim(0.4, end + 0.6)
    if len(number) <= 8 >= end:
        for x, y in zip(number, n, strict=True):
            axes.text(x, y * 1.08, f"{y:,}", ha="center", va="bottom", fontsize=8.5)
    plots.count_axis(axes)
    axes.set_xlabel("instance number (one per round in a halving race)")
    axes.set_ylabel("instances trained")
    axes.legend(loc="upper right", ncols=2)
    plus = f", {spent.n_confirmation:,} of them to confirm" if spent.n_confirmation else ""
    head = f"{spent.n_instances:,} instances{plus}"
    plots.title(axes, f"{head}: {spent.factor:.1f} times fewer than exhaustive" if spent.factor >= 1.05 else head, 60)
    return figure


@plots.styled
def learning_curves(results: Results) -> plots.Figure | None:
    """Draw loss against epoch of the winner's instances: single curves, the band of quartiles, the median."""
    rows = results.instances[results.instances["configuration_id"] == results.leader]
    rows = rows[rows["status"] != Status.STOPPED]
    fresh = rows[rows["phase"] == Phase.CONFIRMATION]
    rows = fresh if len(fresh) else rows
    curves = [np.asarray(curve, dtype=float) for curve in rows["curve"] if curve is not None and len(curve) > 1]
    if not any(np.isfinite(curve).sum() > 1 for curve in curves):
        return None
    table = np.full((max(map(len, curves)), len(curves)), np.nan)
    for column, curve in enumerate(curves):
        table[: len(curve), column] = np.where(np.isnan(curve), math.inf, curve)
    epochs = np.arange(1, len(table) + 1)
    n_left = np.count_nonzero(~np.isnan(table), axis=1)
    enough = n_left >= max(len(curves) / 2, 1)  # quartiles of the few that trained longest would mislead
    q1, median, q3 = (np.asarray(quantile(table, q)) for q in (0.25, 0.5, 0.75))
    figure, (axes,) = plots.canvas()
    finite = [np.column_stack([epochs[: len(c)], c])[np.isfinite(c)] for c in curves]
    plots.lines(axes, finite, width=0.7, alpha=0.25 + 0.5 / len(curves) ** 0.5)
    good = enough & np.isfinite(q3)
    axes.fill_between(epochs, q1, q3, where=list(good), color=plots.PALETTE[0], alpha=0.3, lw=0, label="quartiles")
    good = enough & np.isfinite(median)
    axes.plot(epochs[good], median[good], color=plots.PALETTE[0], lw=2.2, label="median")
    values = np.concatenate([path[:, 1] for path in finite])
    plots.scale(axes, values, ratio=5)
    low, high = plots.shown(values)
    axes.set_ylim(low * 0.95 if low > 0 else low, high * 1.05 if high > 0 else high + 0.05 * (high - low))
    axes.set_xlim(1, len(table))
    plots.count_axis(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel(plots.label(results.loss_label))
    axes.legend(loc="upper right")
    note = plots.beyond(sum(not np.isfinite(c).all() for c in curves), "curve")
    plots.title(axes, _curve_title(median[good], len(curves), "confirmation" if len(fresh) else "race"), 60, note)
    return figure


def _curve_title(median: NDArray[np.float64], n: int, phase: str) -> str:
    who = f"{n} {phase} instance{'s' if n > 1 else ''} of the leader"
    if len(median) < 4 or median[-1] <= 0:
        return f"Loss by epoch, {who}"
    away = np.flatnonzero(np.abs(median / median[-1] - 1) > 0.05)
    settled = int(away[-1]) + 2 if len(away) else 1
    if settled > 0.9 * len(median):
        return f"Median loss still moves by more than 5 % near the last epoch ({who})"
    return f"Median loss within 5 % of its end from epoch {settled} on ({who})"
