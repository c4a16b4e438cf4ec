"""The report laid out by a real browser; where there is none, nothing is told."""

import dataclasses
import html
import json
import re
import shutil
import subprocess

import pytest

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
