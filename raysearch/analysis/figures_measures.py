"""Figures and tables of measures: one section of the report each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from raysearch.analysis import plots
from raysearch.analysis.results import drawable
from raysearch.storage.events import Measured
from raysearch.storage.measurements import array_path

Content = plots.Figure | pd.DataFrame | str
_KINDS = ("high", "low", "pulse")
_N_LINES = 8


def sections(measured: Sequence[Measured], run_dir: Path) -> list[tuple[str, Content]]:
    """Return the report's sections of measures: per measure a figure, the numbers by configuration, its tables."""
    parts: list[tuple[str, Content]] = []
    for measure in dict.fromkeys(one.measure for one in measured):
        own = [one for one in measured if one.measure == measure]
        title = measure.replace("_", " ").capitalize()
        try:
            drawn: Content | None = figure(own, run_dir)
        except Exception as error:  # an array file that is damaged or of another form, too
            drawn = plots.left_out(measure, error)
        parts += [(title, drawn)] if drawn is not None else []
        whole = [one for one in own if one.seed is None and not one.error]
        parts += [(title, _table(whole))] if whole else []
        for name, rows in whole[0].tables.items() if whole else ():
            if rows:
                parts += [(title, f"{name.capitalize()}, configuration {whole[0].configuration_id}:")]
                parts += [(title, pd.DataFrame(rows))]
        for one in own:
            if one.error:
                parts.append((title, f"Configuration {one.configuration_id}: {one.error}"))
    return parts


def pictures(measured: Sequence[Measured], run_dir: Path) -> dict[str, bytes]:
    """Return the figure of each measure as a PNG, for trackers."""
    found: dict[str, bytes] = {}
    for measure in dict.fromkeys(one.measure for one in measured):
        try:
            drawn = figure([one for one in measured if one.measure == measure], run_dir)
            found |= {} if drawn is None else {measure: plots.png(drawn)}
        except Exception as error:
            plots.left_out(measure, error)
    return found


def figure(measured: Sequence[Measured], run_dir: Path) -> plots.Figure | None:
    """Return the figure of what one measure found, None where there is nothing to draw."""
    whole = [one for one in measured if one.seed is None and not one.error]
    if not whole:
        return None
    measure = whole[0].measure
    if measure == "local_instability":
        return _by_example({f.configuration_id: _arrays(run_dir, f) for f in whole[:_N_LINES]})
    if measure == "synaptic_filtering":
        return _filters(_arrays(run_dir, whole[0]), whole[0].configuration_id)
    return _by_instance([one for one in measured if one.seed is not None], measure)


def _arrays(run_dir: Path, one: Measured) -> dict[str, NDArray[Any]]:
    path = array_path(run_dir, one.measure, one.configuration_id)
    if not path.is_file():
        return {}
    with np.load(path) as file:
        return dict(file)


def _table(measured: Sequence[Measured]) -> pd.DataFrame:
    """Return one row per configuration; numbers by layer are in tables of their own."""
    rows = [
        {"configuration": f.configuration_id, "instances": f.n_instances}
        | {name: float(f"{value:.4g}") for name, value in f.numbers.items() if "." not in name}
        for f in measured
    ]
    return pd.DataFrame(rows)


@plots.styled
def _by_example(arrays: Mapping[str, Mapping[str, NDArray[Any]]]) -> plots.Figure | None:
    key = next((name for own in arrays.values() for name in ("label_entropy", "spread") if name in own), None)
    if key is None:
        return None
    arrays = {configuration: {key: drawable(own[key])} for configuration, own in arrays.items() if key in own}
    figure, (axes,) = plots.canvas()
    for (configuration, own), color in zip(arrays.items(), plots.PALETTE, strict=False):
        values = np.sort(own[key])[::-1]
        axes.plot(np.arange(1, len(values) + 1) / len(values), values, color=color, lw=1.8, label=configuration)
    entropy = key == "label_entropy"
    axes.set_xlabel("share of examples, the least stable first")
    axes.set_ylabel("label entropy (nats)" if entropy else "std over instances")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    first = next(iter(arrays.values()))[key]
    unstable = (
        f"{float((first > 0).mean()):.1%} of examples" if entropy else f"std {float(first.mean()):.3g} on average"
    )
    what = "get different labels from different instances" if entropy else "over instances"
    plots.title(axes, f"{unstable} {what}", 60)
    return figure


@plots.styled
def _filters(arrays: Mapping[str, NDArray[Any]], configuration: str) -> plots.Figure | None:
    if not all(f"global.{kind}" in arrays for kind in _KINDS):
        return None
    figure, panels = plots.canvas(plots.WIDE, 4.0, 1, 3)
    for axes, kind in zip(panels, _KINDS, strict=True):
        x, *curves = drawable(arrays[f"global.{kind}"])
        names = ("A: clean, over unfiltered", "B: under FGSM, over unfiltered", "D: weights left")
        for values, name, color in zip(curves, names, (*plots.PALETTE[:2], plots.GREY), strict=True):
            axes.plot(x, values, color=color, lw=1.8, label=name)
        axes.set_xlabel("threshold, scaled from the least to the greatest weight")
        axes.set_ylim(bottom=0)
        plots.title(axes, f"{kind}-pass filter of all layers" if kind != "pulse" else "pulse filter of all layers", 40)
    panels[0].legend(loc="best")
    panels[0].set_ylabel(plots.label(f"share, configuration {configuration}"))
    return figure


@plots.styled
def _by_instance(measured: Sequence[Measured], measure: str) -> plots.Figure | None:
    """Draw the first number of the measure, its main one, of every instance, by configuration."""
    number = next((name for one in measured for name in one.numbers), None)
    ids = list(dict.fromkeys(one.configuration_id for one in measured))[: 2 * _N_LINES]
    if number is None:
        return None
    groups = [drawable([f.numbers.get(number, np.nan) for f in measured if f.configuration_id == id_]) for id_ in ids]
    groups = [group[~np.isnan(group)] for group in groups]
    if not any(np.isfinite(group).any() for group in groups):
        return None
    figure, (axes,) = plots.canvas(6.5, 1.6 + 0.4 * len(ids))
    colors = [plots.PALETTE[0], *[plots.GREY] * (len(ids) - 1)]
    plots.boxes(axes, groups, colors, points=True)
    axes.set_yticks(range(len(ids)), ids)
    axes.set_xlabel(plots.label(f"{number.replace('_', ' ')} (lower is better)"))
    plots.title(axes, f"{measure.replace('_', ' ').capitalize()}, by instance", 60)
    return figure
