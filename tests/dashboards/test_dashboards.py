"""The dashboard's queries against Debian's real Prometheus, which scrapes a real Ray."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_processes import Daemons, free_port, need, need_ray_extra
from waiting import wait_for

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "dashboards"
DASHBOARD = json.loads((DASHBOARDS / "grafana/dashboards/raysearch.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def test_the_dashboard_shows_every_gauge() -> None:
    from raysearch.execution.ray_metrics import GAUGES

    expressions = " ".join(expression for _, expression in TARGETS)
    assert set(re.findall(r"\bray_(raysearch_\w+)", expressions)) == set(GAUGES)
    text = (DASHBOARDS / "README.md").read_text()
    assert [name for name in GAUGES if f"`{name}`" not in text] == []


def test_panels_do_not_overlap_and_have_a_description() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert all(panel["description"] for panel in PANELS)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_provisioning_and_dashboard_name_one_data_source() -> None:
    source = yaml.safe_load((DASHBOARDS / "grafana/provisioning/datasources/raysearch.yaml").read_text())[
        "datasources"
    ][0]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    provider = yaml.safe_load((DASHBOARDS / "grafana/provisioning/dashboards/raysearch.yaml").read_text())["providers"][
        0
    ]
    assert provider["options"]["path"] in (ROOT / "cluster/compose/compose.yaml").read_text()


def test_prometheus_accepts_its_configuration() -> None:
    need("promtool", package="prometheus")
    result = subprocess.run(
        ["promtool", "check", "config", DASHBOARDS / "prometheus.yaml"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def ask(port: int, path: str, **parameters: str) -> Any:
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_panel_has_data_while_a_race_runs(daemons: Daemons) -> None:
    need("prometheus", package="prometheus")
    need_ray_extra()
    port, ray_port = free_port(), free_port() + 1
    head = [
        "--head",
        "--port",
        ray_port,
        "--num-cpus",
        2,
        "--num-gpus",
        1,
        "--min-worker-port",
        0,
        "--max-worker-port",
        0,
    ]
    daemons.start_ray("head", *head, "--dashboard-host", "127.0.0.1", "--dashboard-port", free_port() + 2)
    targets = daemons.directory / "head/prom_metrics_service_discovery.json"
    configuration = daemons.directory / "prometheus.yaml"
    text = (
        (DASHBOARDS / "prometheus.yaml")
        .read_text()
        .replace("/tmp/ray/prom_metrics_service_discovery.json", str(targets))
    )
    configuration.write_text(text.replace("10s", "2s"))
    storage = f"--storage.tsdb.path={daemons.directory}/tsdb"
    address = f"--web.listen-address=127.0.0.1:{port}"
    daemons.start("prometheus", ["prometheus", f"--config.file={configuration}", storage, address])
    wait_for("Ray to list its nodes", lambda: targets.exists() and targets.read_text())
    search = [
        "raysearch",
        "run",
        "--address",
        f"127.0.0.1:{ray_port}",
        ROOT / "search_spaces/synthetic.yaml",
        "--run-dir",
        daemons.directory / "run",
    ]
    slow = ["--set", "workload.seconds=0.2"]
    environment = {
        **daemons.environment,
        "RAY_ADDRESS": f"127.0.0.1:{ray_port}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{daemons.directory}/m.db",
    }
    run = daemons.start("run", [*search, *slow], env=environment, cwd=daemons.directory)

    def empty() -> list[str]:
        expressions = [(title, expression.replace("$search", ".+")) for title, expression in TARGETS]
        return [title for title, expression in expressions if not ask(port, "query", query=expression)["result"]]

    def complete() -> bool:
        if run.poll() is not None:
            pytest.fail(f"the run ended before every panel had data: {empty()}\n{daemons.log('run')}")
        return not empty()

    wait_for("every panel to have data", complete, pause_s=1.0)
    assert ask(port, "query", query='count(ray_raysearch_instances{status="COMPLETE"} > 0)')["result"]
    health = ask(port, "targets")["activeTargets"]
    assert [target["lastError"] for target in health if target["health"] == "down"] == []
