"""Look at a search in MLflow's UI with a real headless browser, check what it shows, and keep the pictures.

    pip install playwright && apt-get install chromium      # neither is a dependency of raysearch
    python benchmarks/screenshots.py DIRECTORY EXPERIMENT [--out screenshots]

DIRECTORY is where `raysearch run` left `mlflow.db`; a bare `mlflow ui` is started in it. Checked are: configurations
with nested instances, an instance's loss curve, and the report among the artifacts of the search run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PORT = 5000
ROOT = f"http://127.0.0.1:{PORT}"
# what a visitor chooses once: the menu for training instead of chat bots, and no assistant
CHOSEN = """Object.entries({
  "mlflow.workflowType_v1": '"machine_learning"',
  "mlflow.assistant.panelOpen_v1": "false",
  "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}).forEach(([key, value]) => localStorage.setItem(key, value))"""


@contextlib.contextmanager
def mlflow_ui(directory: Path) -> Iterator[None]:
    """`mlflow ui` as a newcomer starts it."""
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "ui"]
    with (
        open(os.devnull, "w") as sink,
        subprocess.Popen(command, cwd=directory, env=environment, stdout=sink, stderr=sink) as process,
    ):
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), timeout=1):
                    break
                time.sleep(0.2)
            time.sleep(1)
            yield
        finally:
            process.terminate()


def api(path: str, **body: Any) -> Any:
    """Ask the server what the browser should see."""
    request = urllib.request.Request(f"{ROOT}/api/2.0/mlflow/{path}")
    if body:
        request = urllib.request.Request(
            request.full_url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
    return json.load(urllib.request.urlopen(request, timeout=60))


def runs(experiment_id: str, condition: str, order: str = "attributes.start_time DESC") -> list[Any]:
    found = api("runs/search", experiment_ids=[experiment_id], filter=condition, max_results=100, order_by=[order])
    return list(found.get("runs", []))


def visit(page: Any, address: str, awaited: str) -> None:
    """Open a page of the UI and wait for a text on it."""
    page.goto(f"{ROOT}/{address}")
    page.get_by_text(awaited).first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)


def look(page: Any, experiment: str, out: Path) -> None:
    """Visit the pages, check them, keep pictures."""
    experiment_id = api(f"experiments/get-by-name?experiment_name={experiment}")["experiment"]["experiment_id"]
    winner = runs(experiment_id, "tags.status = 'winner'")[0]["info"]["run_id"]
    search = runs(experiment_id, "tags.kind = 'search'")[0]["info"]["run_id"]
    children = runs(experiment_id, f"tags.`mlflow.parentRunId` = '{winner}'")
    views = f"#/experiments/{experiment_id}/runs?viewStateShareKey="

    visit(page, views + "configurations", "criterion")
    n_configurations = len(runs(experiment_id, "tags.kind = 'configuration'"))
    assert page.get_by_text(f"{n_configurations} matching runs").count(), "the view shows every configuration"
    page.screenshot(path=out / "mlflow_configurations.png")

    visit(page, views + "instances", "final_loss")
    page.locator("[data-component-type=alert] button").last.click()  # the line that says this is a shared view
    page.locator(f".ag-row[row-id='{winner}'] button").first.click()
    page.wait_for_timeout(1500)
    nested = page.locator(".ag-row a", has_text=re.compile("^(seed|confirm) ")).count()
    assert nested >= min(10, len(children)), f"{nested} nested instances are shown"
    page.screenshot(path=out / "mlflow_instances.png")

    visit(page, f"#/experiments/{experiment_id}/runs/{children[0]['info']['run_id']}/model-metrics", "loss")
    page.wait_for_timeout(3000)
    assert page.locator(".js-plotly-plot").count(), "a chart of the loss is drawn"
    page.screenshot(path=out / "mlflow_instance.png")

    visit(page, f"#/experiments/{experiment_id}/runs/{search}/artifacts/report.html", "report.html")
    page.wait_for_timeout(3000)
    assert page.locator("iframe").count(), "the report is shown in its frame"
    page.screenshot(path=out / "mlflow_report.png")
    visit(page, f"#/experiments/{experiment_id}/runs/{search}", "Winner")
    page.screenshot(path=out / "mlflow_search.png")
    print(f"{n_configurations} configurations, {nested} nested instances, a loss curve and the report: seen")


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("experiment")
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    with mlflow_ui(options.directory), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.add_init_script(CHOSEN)
        look(page, options.experiment, options.out)
        browser.close()


if __name__ == "__main__":
    main()
