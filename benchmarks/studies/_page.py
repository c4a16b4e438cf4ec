"""The page and the figure of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.analysis import plots

SIZES = {
    "quick": "a proof that it runs: nothing can be read off it",
    "small": "what two shared cores had time for: fewer and smaller trainings than the paper's",
    "full": "the full size",
}


@dataclass
class Page:
    """What a study found.

    Args:
        title: of the page.
        question: what is asked.
        published: what was published.
        figure: made by `raysearch.analysis.plots`.
        findings: one sentence each, with number, interval and n.
        tables: by caption, rows of named cells.
        notes: what a reader must know to judge the numbers.
    """

    title: str
    question: str
    published: str
    figure: plots.Figure
    findings: Sequence[str]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    notes: Sequence[str] = ()
    text: str = field(default="", init=False)

    def write(self, folder: Path, name: str, command: str, size: str, cost: str) -> None:
        """Write `NAME.md` and `NAME.png`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(plots.png(self.figure, dpi=110))
        parts = [
            f"# {self.title}",
            self.question,
            f"**Published.** {self.published}",
            f"![{self.title}]({name}.png)",
            "**Here.**\n" + "\n".join(f"- {finding}" for finding in self.findings),
            *(f"{caption}\n\n{_markdown(rows)}" for caption, rows in self.tables.items()),
            *self.notes,
            f"    {command}",
            f"Size `{size}`: {SIZES[size]}. {cost}. Numbers in brackets are 95 % intervals, by bootstrap over "
            "instances unless said otherwise.",
        ]
        self.text = "\n\n".join(parts) + "\n"
        (folder / f"{name}.md").write_text(self.text, encoding="utf-8")


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(_cell(row.get(name, "")) for name in names) + " |" for row in rows)])


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


def stretch(axes: plots.Axes, losses: NDArray[np.float64]) -> None:
    """Make the axis of box plots logarithmic where losses lie far apart, as with networks that learned nothing."""
    finite = losses[np.isfinite(losses)]
    if plots.scale(axes, finite, "x"):
        axes.set_xlim(finite.min() / 1.08, finite.max() * 1.08)


@plots.styled
def boxed(
    groups: Mapping[str, NDArray[np.float64]],
    axis: str,
    title: str,
    colors: Sequence[str] | None = None,
    height: float = 0.0,
    axes: plots.Axes | None = None,
) -> plots.Figure | None:
    """Draw a box plot of each group, with its instances and their number; on `axes`, or on a new figure."""
    figure = None
    if axes is None:
        figure, (axes,) = plots.canvas(8.6, height or 1.4 + 0.42 * len(groups))
    plots.boxes(axes, list(groups.values()), colors or [plots.PALETTE[0]] * len(groups), points=True)
    labels = [f"{name}  (n = {len(group)})" for name, group in groups.items()]
    axes.set_yticks(range(len(groups)), labels)
    stretch(axes, np.concatenate(list(groups.values())))
    axes.set_xlabel(axis)
    plots.title(axes, title, 52 if figure else 34)
    return figure
