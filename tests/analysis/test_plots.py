import re
import threading

import numpy as np
import pytest
from matplotlib.figure import Figure

from raysearch.analysis import plots


def drawn(text="x"):
    figure, (axes,) = plots.canvas()
    plots.lines(axes, [np.array([[0, 0], [1, 1.0]])] * 50)
    axes.plot([1, 2], [3, 4], label=plots.label(text))
    axes.legend()
    plots.title(axes, text)
    return figure


def test_svg_holds_no_address_and_takes_the_pages_colour():
    text = plots.svg(drawn(), "a")
    assert text.startswith("<svg ")
    assert "http" not in text
    assert "currentColor" in text
    assert plots.INK not in text
    assert "<style" not in text
    assert set(re.findall(r'xlink:href="(.)', text)) == {"#", "d"}  # own ids and data: images only


def test_ids_are_repeatable_and_apart_between_figures():
    first, again, other = plots.svg(drawn(), "a"), plots.svg(drawn(), "a"), plots.svg(drawn(), "b")
    assert first == again
    ids = set(re.findall(r'\bid="([^"]+)"', first))
    assert ids
    assert not ids & set(re.findall(r'\bid="([^"]+)"', other))


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "$x$ costs $5", "日本語 \U0001f600", "a\\b", "$\\frac{1}{$"]
)
def test_any_text_can_be_drawn(text):
    shown = plots.svg(drawn(text), "a")
    assert "<script" not in shown
    assert plots.png(drawn(text)).startswith(b"\x89PNG")


def test_data_uri_is_a_png():
    assert plots.data_uri(drawn(), dpi=50).startswith("data:image/png;base64,iVBOR")


def test_logarithmic_only_where_positive_and_wide():
    _, (axes,) = plots.canvas()
    assert not plots.scale(axes, [1, 2, np.inf])
    assert not plots.scale(axes, [-1, 0.1, 100])
    assert not plots.scale(axes, [np.inf, np.nan])
    assert axes.get_yscale() == "linear"
    assert plots.scale(axes, [0.01, 1, np.inf])
    assert axes.get_yscale() == "log"


def test_shown_leaves_room():
    assert plots.shown([1, 3, np.inf]) == (1, 3)
    assert plots.shown([]) == (0, 1)
    low, high = plots.shown([2.0, 2.0])
    assert low < 2 < high


def test_boxes_put_infinite_quartiles_beyond_the_axis():
    figure, (axes,) = plots.canvas()
    plots.boxes(axes, [np.array([1, 2, np.inf, np.inf]), np.array([np.inf]), np.empty(0)], ["k", "r", "g"], points=True)
    assert axes.get_xlim()[1] < 2.5
    assert plots.png(figure, dpi=40)


def test_foreign_figures_keep_their_paper():
    assert plots.adapts(drawn())
    assert not plots.adapts(Figure())


def test_drawing_in_a_thread_leaves_no_style_behind():
    import matplotlib

    before = dict(matplotlib.rcParams)
    thread = threading.Thread(target=lambda: plots.svg(drawn(), "a"))
    thread.start()
    thread.join()
    assert dict(matplotlib.rcParams) == before
