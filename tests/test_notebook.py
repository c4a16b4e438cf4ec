"""A search as notebooks carry it out and show it."""

import asyncio
import threading

import pytest
from matplotlib.figure import Figure

import raysearch
from raysearch.analysis.report import DRAWINGS
from raysearch.errors import UnknownNameError

pytestmark = pytest.mark.figures


def train(config, seed):
    for epoch in range(3):
        yield config["level"] + (seed % 100) / 1000 + 1 / (epoch + 1)


def search(folder, **more):
    settings = {"rule": {"name": "halving", "warmup": 3}, "confirm": 4, "execution": "local", "tracking": None}
    space = {"level": [0.1, 0.5, 0.9, 1.3], "tag": ["<b>", "plain"]}
    return raysearch.search(train, space=space, run_dir=folder / "run", progress=False, **{**settings, **more})


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return search(tmp_path_factory.mktemp("notebook"))


def test_a_result_shows_itself(result):
    shown = result._repr_html_()
    assert result.verdict.winner.id in shown
    assert "95% interval" in shown
    assert "data:image/png;base64," in shown
    assert "<b></td>" not in shown


@pytest.mark.parametrize("name", [drawing.key for drawing in DRAWINGS])
def test_every_figure_of_the_report_is_to_be_had(result, name):
    assert isinstance(result.plot(name), Figure)


def test_an_unknown_figure_is_answered_with_all(result):
    with pytest.raises(UnknownNameError, match=r"unknown figure 'curvs'. Did you mean 'curves'\?.*trajectories"):
        result.plot("curvs")


def test_a_search_inside_a_running_event_loop_and_in_a_thread(result, tmp_path):
    async def cell():
        return search(tmp_path / "loop")

    found = [asyncio.run(cell())]
    thread = threading.Thread(target=lambda: found.append(search(tmp_path / "thread")))
    thread.start()
    thread.join()
    assert [one.verdict.winner for one in found] == [result.verdict.winner] * 2
