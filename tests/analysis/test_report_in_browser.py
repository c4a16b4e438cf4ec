"""The report laid out by a real browser; where there is none, nothing is told."""

import dataclasses
import html
import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
from browser import browser

from raysearch.analysis.report import render

pytestmark = pytest.mark.process

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """<script>
addEventListener("load", () => {
  const told = [...document.querySelectorAll(".scroll")].map((box) => ({
    wide: box.scrollWidth - box.clientWidth,
    tallest: Math.max(...[...box.querySelectorAll("tbody tr")].map((row) => row.offsetHeight)),
    narrowest: Math.min(...[...box.querySelectorAll("td.label")].map((cell) => cell.offsetWidth)),
  }));
  const page = document.documentElement;
  const text = JSON.stringify({ boxes: told, page: page.scrollWidth - page.clientWidth });
  document.body.append(Object.assign(document.createElement("output"), { textContent: text }));
});
</script>"""


def laid_out(page: str, tmp_path, width: int):
    """Return how far page and tables reach beyond their frames [px] in a window of `width` px, and their rows."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)  # it allows no script but the page's
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", MEASURE + "</body>"), encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900",
    ]
    done = subprocess.run([*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, check=True)
    return json.loads(html.unescape(re.search(r"<output>(.*?)</output>", done.stdout)[1]))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to lay the page out")
@pytest.mark.parametrize(("criterion", "width"), [("q3_plus_iqr", 1000), ("quantile(q=0.9)", 1300)])
def test_no_column_of_the_table_of_configurations_is_cut_off(race, tmp_path, criterion, width):
    results = dataclasses.replace(race(40, 1, 5), criterion_label=criterion)
    rows = results.instances.copy()
    path = "/data/" + "a_long_name_without_a_gap_" * 4
    rows["parameters"] = [
        json.dumps(json.loads(p) | {"path": f"{path}{i % 3}"}) for i, p in enumerate(rows["parameters"])
    ]
    told = laid_out(render(dataclasses.replace(results, instances=rows), "name: a"), tmp_path, width)
    assert told["page"] == 0
    [table] = told["boxes"]
    assert table["wide"] == 0, "parameters are out of sight, to the right"
    assert table["tallest"] < 340, "ten parameters and a path of a hundred letters"
    assert table["narrowest"] >= 140


LETTERS = """(figure => {
  const heights = [...figure.querySelectorAll("text")].map((one) => one.getBoundingClientRect().height);
  const [svg, caption] = [figure.querySelector("svg.plot"), figure.querySelector("figcaption")];
  figure.scrollLeft = 1e6;
  return {
    least: Math.min(...heights.filter((height) => height > 0)),
    reached: svg.getBoundingClientRect().right <= figure.getBoundingClientRect().right + 1,
    caption: caption.getBoundingClientRect().left >= figure.getBoundingClientRect().left - 1,
  };
})"""
BEYOND = """[...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect(), wide = document.documentElement.clientWidth;
  const inside = (at) => at && (getComputedStyle(at).overflowX !== "visible" || inside(at.parentElement));
  return box.width && (box.right > wide + 1 || box.left < -1) && !inside(one.parentElement) && !one.closest("svg");
}).map((one) => one.outerHTML.slice(0, 80))"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to lay the page out")
@pytest.mark.figures
def test_in_a_narrow_window_nothing_is_out_of_reach_or_too_small(race, tmp_path):
    results = dataclasses.replace(race(40, 1, 5), criterion_label="quantile(q=0.9)")
    rows = results.instances.copy()
    rows["parameters"] = [
        json.dumps(json.loads(p) | {"path": f"/data/{'a_long_name' * 9}"}) for p in rows["parameters"]
    ]
    rows.loc[rows.index[3], ["status", "loss", "error"]] = ["FAILED", float("inf"), f"OSError: {'no_gap' * 40}"]
    page = tmp_path / "page.html"
    sections = [("Lengths", pd.DataFrame({f"a_column_{i}": ["a text without gaps" * 2] for i in range(12)}))]
    results = dataclasses.replace(results, instances=rows)
    page.write_text(render(results, "name: a_name_without_a_gap_" + "x" * 200, measures=sections), encoding="utf-8")
    with browser(tmp_path / "profile") as tab:
        for width in (700, 400):
            tab.window(width, 900)
            tab.visit(page.as_uri())
            tab.wait_for("document.readyState === 'complete'")
            tab.get("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert tab.get("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
            assert tab.get(BEYOND) == [], "beyond the window, and in no box that scrolls"
            for told in tab.get(f"[...document.querySelectorAll('.figures figure')].map({LETTERS})"):
                assert told["least"] >= 10, "letters too small to read"
                assert told["reached"], "the end of a figure cannot be scrolled to"
                assert told["caption"], "a caption goes away with what scrolls"
            tall = tab.get(
                "Math.max(...[...document.querySelectorAll('#table tbody tr')].map((one) => one.offsetHeight))"
            )
            assert tall < 200, "a column of parameters so narrow that a row fills the window"
            left = """(() => { const box = document.querySelector("#configurations .scroll"); box.scrollLeft = 1e6;
              const id = box.querySelector("tbody td:nth-child(2)").getBoundingClientRect();
              return id.left - box.getBoundingClientRect().left; })()"""
            assert 0 <= tab.get(left) < 5, "whose row it is, is out of sight"
        assert tab.complaints == []
