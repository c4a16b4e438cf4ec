"""`cluster/mlflow_server.sh`, which Compose and Kubernetes start: on real PostgreSQL, with basic auth."""

from __future__ import annotations

import base64
import secrets
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from postgres import need_postgres, start_postgres
from real_processes import Daemons, free_port
from waiting import wait_for

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster/mlflow_server.sh"


def answer(url: str, password: str = "") -> int:
    """Return the status with which the server answers."""
    request = urllib.request.Request(url)
    if password:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"admin:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_server_runs_on_postgresql_and_asks_for_a_password(daemons: Daemons) -> None:
    need_postgres()
    pytest.importorskip("psycopg", reason="the extra `server` is not installed")
    pytest.importorskip("flask_wtf", reason="the extra `server` is not installed")
    daemons.environment |= start_postgres(daemons)
    port, password = free_port(), secrets.token_hex(16)
    text = (ROOT / "cluster/compose/auth.ini").read_text().replace("/mlflow/auth.db", f"{daemons.directory}/auth.db")
    (daemons.directory / "auth.ini").write_text(text)
    daemons.environment |= {
        "MLFLOW_AUTH_CONFIG_PATH": str(daemons.directory / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "RAYSEARCH_MLFLOW_PORT": str(port),
        "RAYSEARCH_MLFLOW_WORKERS": "1",
        "RAYSEARCH_MLFLOW_ARTIFACTS": str(daemons.directory / "artifacts"),
    }
    daemons.start("mlflow", [SCRIPT], cwd=daemons.directory)
    search = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    wait_for("the server", lambda: answer(f"http://127.0.0.1:{port}/health") == 200, pause_s=1.0)
    assert answer(search) == 401
    assert answer(search, password) == 200
    tables = daemons.run(["psql", "-Atc", "select count(*) from experiments"])
    assert tables.strip() == "1", "the experiments are not in PostgreSQL"
    listening = daemons.run(["ss", "-Hltn", f"sport = :{port}"])
    assert f"127.0.0.1:{port}" in listening
    assert len(listening.splitlines()) == 1
    for hidden in (password, daemons.environment["PGPASSWORD"]):
        assert hidden not in daemons.log("mlflow")
        assert subprocess.run(["pgrep", "-f", hidden], capture_output=True).stdout == b""


@pytest.mark.parametrize("missing", ["PGPASSWORD", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"])
def test_the_server_refuses_to_start_without_a_secret(missing: str, daemons: Daemons) -> None:
    names = ("PGPASSWORD", "PGDATABASE", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
    daemons.environment |= {name: "x" for name in names if name != missing}
    with pytest.raises(AssertionError, match=f"set {missing}"):
        daemons.run([SCRIPT])
