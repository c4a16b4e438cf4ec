import dataclasses
import html.parser
import json
import math
import re
import time

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from raysearch.analysis import plots
from raysearch.analysis.report import render, write_report

EVIL = "<script>alert('x')</script>"


class Page(html.parser.HTMLParser):
    """What a browser would see: open tags that close, ids, references, text of each section."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.references, self.open, self.tags, self.text, self.handlers = [], [], [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
                self.references.append(value)
            if name.startswith("on"):
                self.handlers.append(name)
        if tag not in ("meta", "input", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in ("meta", "input", "img", "br"):
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


def check(text):
    """Return the page, parsed, after the checks that hold for every report."""
    page = Page(text)
    assert page.open == []
    assert not re.search(r"https?:|//[a-z0-9-]+\.[a-z]", re.sub(r"data:image/png;base64,[^\"]*", "", text))
    assert all(reference.startswith(("#", "data:image/png;base64,")) for reference in page.references)
    assert {r[1:] for r in page.references if r.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("script") == 1
    assert page.handlers == []
    assert "nan" not in page.text.split()
    return page


def test_a_finished_race(race, tmp_path):
    results = race(72, 3, 40)
    arguments = {f.name: getattr(results, f.name) for f in dataclasses.fields(results) if f.name != "criterion_label"}
    path = write_report(tmp_path / "new" / "report.html", **arguments, experiment_text="# as it was\nname: x\n")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    page = check(path.read_text(encoding="utf-8"))
    verdict = results.verdict
    for wanted in (
        f"The race chose configuration {verdict.winner.id} among 72.",
        f"{verdict.confirmation.criterion:#.4g}",
        f"{verdict.race.criterion:#.4g}",
        f"{verdict.test_median:#.4g}",
        "% better",
        "3,600 of exhaustive search",
        "# as it was\nname: x",
        "RuntimeError: <b>out of memory</b>",
        "worker-1",
        "raysearch.load(run_dir)",
        "learning_rate",
    ):
        assert wanted in page.text, wanted
    assert page.tags.count("svg") == 7
    assert page.tags.count("tr") >= 73
    ids = re.findall(r"<td><code>([0-9a-f]{12})</code></td>", path.read_text(encoding="utf-8"))
    assert ids == results.table["configuration_id"].tolist()


def test_a_race_that_broke_off(race):
    page = check(render(race(72, 3, finish=False)))
    assert "Race not finished" in page.text
    assert "The leader so far" in page.text
    assert "The winner" not in page.text
    assert "survivor" in page.text


@pytest.mark.parametrize(("n", "confirm"), [(1, 20), (1, 0), (2, 0), (3, 5)])
def test_few_configurations(race, n, confirm):
    check(render(race(n, 2, confirm)))


def test_all_diverged(race):
    page = check(render(race(12, 2, 10, diverge=1.0)))
    assert "+inf" in page.text
    assert "10 of the 10 fresh instances diverged or failed" in page.text
    assert "no choice to rely on" in page.text


def test_nothing_trained_yet(race):
    results = race(8, 1, 0)
    empty = dataclasses.replace(results, instances=results.instances.iloc[:0], verdict=None, eliminations=[], rounds=[])
    page = check(render(empty))
    assert "Nothing has been trained yet." in page.text
    assert "There is nothing to draw yet." in page.text


def test_every_text_is_escaped(race):
    results = race(8, 1, 5, diverge=0.5)
    rows = results.instances.copy()
    rows["parameters"] = [json.dumps(json.loads(p) | {EVIL: EVIL, "$a$": i}) for i, p in enumerate(rows["parameters"])]
    rows["error"] = f"Traceback\n{EVIL}"
    rows["node"] = EVIL
    parameters = json.loads(rows["parameters"].iloc[0])
    results = dataclasses.replace(
        results,
        instances=rows,
        experiment={"name": EVIL, "criterion": {"name": EVIL, "q": EVIL}, "note": EVIL},
        loss_label=EVIL,
        verdict=dataclasses.replace(
            results.verdict, note=EVIL, winner=dataclasses.replace(results.verdict.winner, parameters=parameters)
        ),
    )
    text = render(
        results, environment={EVIL: EVIL}, measures=[(EVIL, EVIL), (EVIL, pd.DataFrame({EVIL: [EVIL]}, index=[EVIL]))]
    )
    page = check(text)
    assert EVIL not in text
    assert page.text.count(EVIL) > 20


def test_sections_of_measures_and_of_several_objectives(race):
    figure, (axes,) = plots.canvas(4, 3)
    axes.plot([1, 2], [3, 4])
    foreign = Figure()
    foreign.subplots().plot([1, 2])
    table = pd.DataFrame({"example": range(300), "entropy": np.linspace(0, 1, 300), "label": "a"})
    page = check(
        render(
            race(8, 1, 0),
            measures=[("Local instability", "Worst examples first."), ("Local instability", table), ("Curves", figure)],
            pareto=[foreign, pd.DataFrame({"median": [0.1, math.inf, math.nan]}, index=["a", "b", "c"])],
        )
    )
    assert page.text.count("Local instability") == 2  # heading and link
    assert "100 more rows are not shown." in page.text
    assert "Several objectives" in page.text
    assert page.tags.count("img") == 1


def test_many_kinds_of_errors_are_cut_and_counted(race):
    results = race(72, 1, 0, diverge=1.0)
    rows = results.instances.copy()
    rows["status"], rows["error"] = "FAILED", [f"error {i}" for i in range(len(rows))]
    page = check(render(dataclasses.replace(results, instances=rows)))
    assert page.tags.count("details") == 20
    assert f"{len(rows) - 20} rarer kinds" in page.text


def test_an_old_report_survives_a_failure(race, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    results = race(8, 1, 0)
    arguments = {f.name: getattr(results, f.name) for f in dataclasses.fields(results) if f.name != "criterion_label"}

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_report(path, **arguments)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.long
def test_the_papers_search_fits_one_small_file_in_seconds(race):
    results = race(6912, 5, 100)
    assert len(results.instances) == 41567
    start = time.process_time()
    text = render(results)
    assert time.process_time() - start < 15
    assert len(text.encode()) < 5e6
    page = check(text)
    assert "41,567" in page.text
    assert "345,600" in page.text
    assert "The 200 that lasted longest, of 6,912." in page.text
