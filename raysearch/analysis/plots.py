"""The only import of matplotlib: canvases in one style, their scales, +inf at the edge, and SVG or PNG for HTML.

Figures are made without pyplot, so they are safe in a server or a thread of their own and nothing needs closing.
"""

from __future__ import annotations

import base64
import functools
import io
import logging
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from raysearch.analysis.savings import count
from raysearch.criteria._statistics import quantile

__all__ = [
    "GREY",
    "INK",
    "PALETTE",
    "WIDE",
    "Axes",
    "Figure",
    "adapts",
    "beyond",
    "boxes",
    "canvas",
    "count_axis",
    "data_uri",
    "label",
    "left_out",
    "lines",
    "png",
    "scale",
    "shown",
    "styled",
    "svg",
    "title",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F6BB5")
"""Okabe and Ito's colours that stay apart for the colour-blind and on light and dark paper; the first is the winner."""
INK = "#1f2430"
"""Text and axes; an SVG inlined in a page takes the page's own colour in its place."""
GREY = "#8d95a3"
"""What is out of the race."""
WIDE = 13.6
"""Width in inches of a figure across the page; the usual one takes half of it."""

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.formatter.useoffset": False,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
}
_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that draws, so that all its artists have the house's style."""

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return in_style


class _Shown(Figure):
    """A figure that a notebook shows, where nothing has told it how to show others: pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        return png(self, 80)


@styled
def canvas(width: float = 6.5, height: float = 4.0, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return an empty figure of `width` x `height` inches and its `rows * columns` axes, row by row."""
    figure = _Shown(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).flat)


def label(text: object, width: int = 0) -> str:
    """Return `text` safe to draw: a dollar starts no formula; cut to `width` characters where that is positive."""
    plain = " ".join(str(text).split())
    if width and len(plain) > width:
        plain = plain[: width - 1] + "…"
    return plain.replace("$", r"\$")


def title(axes: Axes, text: str, width: int = 78, note: str = "") -> None:
    """Set the finding as the title, wrapped to `width` characters, with a small `note` below it."""
    lines = "\n".join(textwrap.wrap(label(text), width))
    axes.set_title(lines, pad=22 if note else None)
    if note:
        axes.annotate(label(note), (0, 1), (0, 6), "axes fraction", "offset points", fontsize=9, color=PALETTE[1])


def scale(axes: Axes, values: ArrayLike, which: str = "y", ratio: float = 8.0) -> bool:
    """Make axis `which` logarithmic where the finite `values` are positive and span more than `ratio`; tell if so."""
    array = np.asarray(values, dtype=float).ravel()
    array = array[np.isfinite(array)]
    logarithmic = bool(len(array) and array.min() > 0 and array.max() > ratio * array.min())
    if logarithmic:
        axis = axes.yaxis if which == "y" else axes.xaxis
        (axes.set_yscale if which == "y" else axes.set_xscale)("log")
        narrow = array.max() < 1000 * array.min()
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=12))
        axis.set_minor_formatter(NullFormatter())
        if array.min() >= 1e-4 and array.max() < 1e5:
            axis.set_major_formatter(StrMethodFormatter("{x:.4g}"))
    return logarithmic


def shown(values: ArrayLike, fences: float = 0.0) -> tuple[float, float]:
    """Return the least and greatest finite value, (0, 1) where there is none, a little apart where they are one."""
    array = np.asarray(values, dtype=float).ravel()
    array = array[np.isfinite(array)]
    if not len(array):
        return 0.0, 1.0
    low, high = float(array.min()), float(array.max())
    pad = fences * (high - low) if high > low else 0.05 * abs(high) or 0.5
    return (low - pad, high + pad) if fences or low == high else (low, high)


def beyond(n: int, noun: str, arrow: str = "▲") -> str:
    """Return the note that `n` of a `noun` are +inf, beyond the edge that `arrow` points to; nothing for 0."""
    return f"{arrow} {count(n, noun)} at +inf (diverged or failed)" if n else ""


def count_axis(axes: Axes, which: str = "x", n_ticks: int = 9) -> None:
    """Put ticks of a counting axis on whole numbers."""
    (axes.xaxis if which == "x" else axes.yaxis).set_major_locator(MaxNLocator(n_ticks, integer=True, min_n_ticks=1))


def lines(
    axes: Axes, paths: Sequence[NDArray[np.float64]], color: str = GREY, width: float = 0.6, alpha: float = 0.3
) -> None:
    """Draw thousands of `paths`, each `(n_points, 2)`, as one rasterised collection."""
    axes.add_collection(LineCollection(paths, colors=color, linewidths=width, alpha=alpha, rasterized=True))


def boxes(axes: Axes, groups: Sequence[NDArray[np.float64]], colors: Sequence[str], points: bool = False) -> None:
    """Draw horizontal box plots of `groups` from the top down: quartiles, median, whiskers to 1.5 IQR, `points`.

    +inf counts in every quartile and is drawn beyond the right end of the finite values.
    """
    low, high = shown(np.concatenate([*groups, np.empty(0)]))
    far = high + 0.5 * (high - low)
    rng = np.random.default_rng(0)  # only the scatter of points about their row
    for y, (group, color) in enumerate(zip(groups, colors, strict=True)):
        if not len(group):
            continue
        q1, median, q3 = (min(float(quantile(group, q)), far) for q in (0.25, 0.5, 0.75))
        reach = 1.5 * (q3 - q1)
        inside = group[(group >= q1 - reach) & (group <= q3 + reach)]
        ends = (inside.min(), inside.max()) if len(inside) else (q1, q3)
        axes.hlines([y, y], [ends[0], q3], [q1, max(ends[1], q3)], color=color, linewidth=1.2)
        axes.barh(y, q3 - q1, left=q1, height=0.56, facecolor=color, alpha=0.28, edgecolor="none")
        axes.barh(y, q3 - q1, left=q1, height=0.56, facecolor="none", edgecolor=color, linewidth=1.2)
        axes.vlines(median, y - 0.28, y + 0.28, color=color, linewidth=2.4)
        if points:
            finite = group[np.isfinite(group)]
            jitter = rng.uniform(-0.2, 0.2, len(finite))
            axes.plot(finite, y + jitter, ".", color=color, markersize=3.5, alpha=0.55, rasterized=len(finite) > 500)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlim(*shown([low, high], 0.04))
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def left_out(name: str, error: Exception) -> str:
    """Return, and log, that the figure `name` is missing and why: no figure is worth the report of a search."""
    text = " ".join(f"The figure “{name}” could not be drawn and is left out: {type(error).__name__}: {error}".split())
    _log.warning("%s", text[:500])
    return text[:500]


def adapts(figure: Figure) -> bool:
    """Tell whether `figure` is drawn on a `canvas`: without paper of its own, its text takes a page's colour."""
    return to_rgba(figure.get_facecolor())[3] == 0


def png(figure: Figure, dpi: int = 150) -> bytes:
    """Return `figure` as a PNG on white, e.g. for a tracker's artifacts."""
    stream = io.BytesIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a user's text may hold characters the font has not
        figure.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


def data_uri(figure: Figure, dpi: int = 150) -> str:
    """Return `figure` as a `data:image/png` address for an `img`."""
    return "data:image/png;base64," + base64.b64encode(png(figure, dpi)).decode()


def svg(figure: Figure, salt: str, dpi: int = 130) -> str:
    """Return `figure` as an `<svg>` element to put into a page; rasterised parts at `dpi`.

    `salt` must be unique in the page: it makes the ids, which are then the same on every run. Text stays text, takes
    the page's colour, and no address of a namespace or DTD is left in it.
    """
    stream = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(stream, format="svg", dpi=dpi, metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    # the style would apply to the whole page; the page's own sheet has it for `svg.plot`
    text = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", text, flags=re.S)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    # axes and patches carry plain ids such as axes_1, the same in every figure of the page
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height|version)="[^"]*"', "", head)
    return head + ' class="plot">' + rest.replace(INK, "currentColor").strip()
