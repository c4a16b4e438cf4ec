"""A search as notebooks carry it out and show it."""

import asyncio
import base64
import threading
from pathlib import Path

import nbclient
import nbformat
import pytest
from matplotlib.figure import Figure

import raysearch
from raysearch.analysis.report import DRAWINGS
from raysearch.errors import UnknownNameError

pytestmark = pytest.mark.figures
NOTEBOOK = Path(__file__).parents[1] / "docs" / "first_search.ipynb"


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


def in_a_loop_and_in_a_thread(one):
    """Return what a search finds inside a running event loop, as a cell has one, and in a thread."""
    found = []

    async def cell():
        found.append(one("loop"))

    asyncio.run(cell())
    thread = threading.Thread(target=lambda: found.append(one("thread")))
    thread.start()
    thread.join()
    return [result.verdict.winner for result in found]


def test_a_search_inside_a_running_event_loop_and_in_a_thread(result, tmp_path):
    winners = in_a_loop_and_in_a_thread(lambda name: search(tmp_path / name))
    assert winners == [result.verdict.winner] * 2


def test_so_does_one_on_ray(ray_address, tmp_path):
    def level(config, seed):  # goes to the workers whole: they cannot import a test
        return config["level"]

    settings = {"space": {"level": [0.1, 0.5]}, "rule": {"name": "halving", "warmup": 2}, "confirm": 1}
    winners = in_a_loop_and_in_a_thread(
        lambda name: raysearch.search(level, run_dir=tmp_path / name, tracking=None, progress=False, **settings)
    )
    assert [winner.parameters for winner in winners] == [{"level": 0.1}] * 2


# ---- the notebook that comes along


@pytest.fixture(scope="module")
def executed():
    """The notebook's code cells after it was executed as a user does it, from top to bottom."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=240).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cells, kind):
    """Return what was shown in a format, in order."""
    outputs = [output for cell in cells for output in cell.outputs]
    return ["".join(output.data[kind]) for output in outputs if kind in output.get("data", {})]


def test_the_notebook_is_stored_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) < len(notebook.cells), "it teaches"
    assert {(len(cell.outputs), cell.execution_count) for cell in code} == {(0, None)}


@pytest.mark.process
def test_the_notebook_shows_progress_the_result_and_figures_and_proves_what_it_says(executed):
    view, page = shown(executed, "text/html")
    assert "winner" in view, "the view of the start was drawn again in its place"
    assert "113/113 instances" in view
    assert "95% interval" in page
    assert "data:image/png;base64," in page
    [figure] = shown(executed, "image/png")
    assert base64.b64decode(figure).startswith(b"\x89PNG")
    assert not [kind for cell in executed for one in cell.outputs for kind in one.get("data", {}) if "widget" in kind]

    losses = [float(one) for one in shown(executed, "text/plain")[0].strip("[]").split(",")]
    assert max(losses) > 1.4 * min(losses)
    said = "".join(output.get("text", "") for output in executed[-1].outputs)
    lucky, robust = (float(line.partition("q3 ")[2].partition(",")[0]) for line in said.splitlines()[1:])
    assert robust < lucky
