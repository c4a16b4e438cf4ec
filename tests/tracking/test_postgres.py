"""A whole search through an MLflow server on real PostgreSQL, with basic auth and artifacts through the server."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_image import image
from mlflow_server import HOST, Server, free_port

from raysearch.driver import run
from raysearch.errors import TrackingError
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import read
from raysearch.tracking._mlflow_database import Database
from raysearch.tracking.mlflow import Mlflow

pytestmark = pytest.mark.mlflow

EXPERIMENT = {
    "name": "on-postgres",
    "workload": {"name": "digits", "epochs": 2, "n_train": 200},
    "space": {"hidden": [[8], [16]], "optimizer": ["AdamW"], "lr": [0.01], "batch_size": [32]},
    "rule": {"name": "halving", "warmup": 2},
    "race": {"confirm": 1},
    "execution": "local",
}


class Postgres:
    """A database cluster of its own, on a free port of this machine; never the one Debian may have started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.password = folder, free_port(), secrets.token_hex(8)
        self._as: dict[str, object] = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        (folder / "password").write_text(self.password)
        self._call("initdb", "-D", folder / "data", "-U", "mlflow", "-A", "scram-sha-256", "--pwfile", "password")
        options = f"-p {self.port} -c listen_addresses={HOST} -c unix_socket_directories={folder} -c fsync=off"
        self._call("pg_ctl", "-D", folder / "data", "-l", folder / "log", "-o", options, "-w", "start")

    def uri(self, database: str = "postgres") -> str:
        return f"postgresql://mlflow:{self.password}@{HOST}:{self.port}/{database}"

    def stop(self) -> None:
        self._call("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")

    def _call(self, program: str, *arguments: object) -> None:
        path = _program(program)
        command = [str(path), *map(str, arguments)]
        with (self.folder / "call.log").open("ab") as log:  # a pipe would stay open in the server
            done = subprocess.run(command, cwd=self.folder, stdout=log, stderr=log, check=False, **self._as)  # type: ignore[call-overload]
        assert done.returncode == 0, (self.folder / "call.log").read_text()


def _program(name: str) -> Path | None:
    """Return a program of PostgreSQL, which Debian keeps out of the path."""
    found = shutil.which(name)
    there = [Path(found)] if found else sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return there[-1] if there else None


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    if _program("initdb") is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    pytest.importorskip("psycopg", reason="the MLflow server needs psycopg for PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="rspg", dir="/tmp"))  # its user must be able to enter, and sockets be short
    database = Postgres(folder)
    yield database
    database.stop()
    shutil.rmtree(folder)


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """An MLflow server with basic auth, and its administrator's password."""
    pytest.importorskip("flask_wtf", reason="basic auth needs mlflow[auth]")
    password = secrets.token_hex(8)
    settings = tmp_path / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{tmp_path}/auth.db\nadmin_username = admin\nadmin_password = {password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    more = {"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16)}
    options = ["--app-name", "basic-auth", "--serve-artifacts"]
    folder = tmp_path / "server"
    folder.mkdir()
    started = Server(folder, store=postgres.uri(), options=options, more=more)
    yield started, password
    started.kill()


@pytest.mark.long
def test_a_search_through_a_server_on_postgres_with_basic_auth(
    server: tuple[Server, str],
    postgres: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import mlflow
    from mlflow import MlflowClient

    at, password = server
    experiment = from_data({**EXPERIMENT, "tracking": {"name": "mlflow", "uri": at.uri}})
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with pytest.raises(TrackingError, match=r"refuses.*MLFLOW_TRACKING_USERNAME") as refused:
        run(experiment, tmp_path / "refused")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    run_dir = tmp_path / "run"
    result = run(experiment, run_dir)

    client = MlflowClient(at.uri)
    found = client.get_experiment_by_name("on-postgres")
    assert found is not None
    assert found.artifact_location.startswith("mlflow-artifacts:")
    runs = client.search_runs([found.experiment_id], "tags.kind = 'instance'", max_results=1000)
    told = {(e["configuration"], str(e["seed"])): e["loss"] for e in read(run_dir / "journal.jsonl") if "loss" in e}
    assert {
        (r.data.tags["raysearch.configuration"], r.data.tags["raysearch.seed"]): r.data.metrics["final_loss"]
        for r in runs
    } == told
    (search,) = client.search_runs([found.experiment_id], "tags.kind = 'search'")
    assert {"report.html", "instances.parquet"} <= {file.path for file in client.list_artifacts(search.info.run_id)}
    (version,) = client.search_model_versions("name = 'on-postgres'")
    assert version.tags["configuration"] == result.verdict.winner.id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", at.uri)
    model = mlflow.pyfunc.load_model(f"models:/on-postgres/{version.version}")
    assert model.metadata.signature is not None

    with socket.create_connection((HOST, postgres.port)):
        pass  # it was this database that held all of it, and it still runs
    kept = [path for folder in (run_dir, tmp_path / "refused") for path in folder.rglob("*") if path.is_file()]
    assert kept
    printed = "".join(capfd.readouterr()) + caplog.text + str(refused.value)
    for secret in (password, postgres.password):
        assert secret not in printed
        for path in kept:
            assert secret.encode() not in path.read_bytes(), path


def test_tables_of_postgres_are_written_to_as_those_of_sqlite(
    postgres: Postgres, make_race: Any, make_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = []
    for uri in (make_store(tmp_path), postgres.uri()):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # a password has no place in a setting
        assert Database.of(uri) is not None
        folder = tmp_path / str(len(images))
        folder.mkdir()
        for _ in range(2):  # told again, all is found
            tracker = Mlflow(curves=False)
            tracker.at(1.7e9)
            make_race().run(tracker, folder)
            assert tracker.n_lost == 0
            held = image(uri, "small", with_ids=False)
            for one in held.values():
                one["tags"].pop("raysearch.run")
            images.append(held)
    assert images[1:] == images[:1] * 3
