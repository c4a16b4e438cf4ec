"""`cluster/mlflow_server.sh`, which Compose and Kubernetes start: on real PostgreSQL, with basic auth."""

from __future__ import annotations

import base64
import os
import pwd
import secrets
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_processes import Daemons, free_port
from waiting import wait_for

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster/mlflow_server.sh"
PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("/usr/bin"))


@pytest.fixture
def daemons() -> Iterator[Daemons]:
    daemons = Daemons()
    yield daemons
    daemons.stop()


def start_postgres(daemons: Daemons) -> None:
    """Start a database of its own and put its address and password where libpq finds them."""
    folder = daemons.directory / "postgres"
    folder.mkdir()
    (folder / "password").write_text(secrets.token_hex(16))
    user = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        entry = pwd.getpwnam("postgres")
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        daemons.directory.chmod(0o755)
        for path in (folder, folder / "password"):
            os.chown(path, entry.pw_uid, entry.pw_gid)
    where = {"PGHOST": "127.0.0.1", "PGPORT": str(free_port()), "PGUSER": "mlflow", "PGDATABASE": "postgres"}
    daemons.environment |= where | {"PGPASSWORD": (folder / "password").read_text()}
    initdb = [PROGRAMS / "initdb", "-D", folder / "data", "-U", "mlflow", "-A", "scram-sha-256"]
    daemons.run([*initdb, f"--pwfile={folder}/password"], cwd=folder, **user)
    options = [
        "-D",
        folder / "data",
        "-p",
        where["PGPORT"],
        "-c",
        f"unix_socket_directories={folder}",
        "-c",
        "fsync=off",
    ]
    daemons.start("postgres-log", [PROGRAMS / "postgres", *options, "-h", "127.0.0.1"], cwd=folder, **user)
    wait_for("PostgreSQL", lambda: daemons.run(["psql", "-c", "select 1"]))


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
    if not (PROGRAMS / "initdb").exists() or shutil.which("psql") is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    pytest.importorskip("psycopg", reason="the extra `server` is not installed")
    pytest.importorskip("flask_wtf", reason="the extra `server` is not installed")
    start_postgres(daemons)
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
