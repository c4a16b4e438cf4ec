"""A PostgreSQL of a test's own."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from real_processes import Daemons, free_port
from waiting import wait_for

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("/usr/bin"))


def need_postgres() -> None:
    """Skip the test unless PostgreSQL is installed."""
    if not (PROGRAMS / "initdb").exists() or shutil.which("psql") is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")


def start_postgres(
    daemons: Daemons, address: str = "127.0.0.1", port: int | None = None, on: Sequence[str] = ()
) -> dict[str, str]:
    """Start a database `mlflow` on a host and return where libpq finds it, with the password."""
    folder = daemons.directory / "postgres"
    folder.mkdir()
    (folder / "password").write_text(secrets.token_hex(16))
    as_its_user: list[object] = list(on)
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        entry = pwd.getpwnam("postgres")
        as_its_user += ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        daemons.directory.chmod(0o755)
        for path in (folder, folder / "password"):
            os.chown(path, entry.pw_uid, entry.pw_gid)
    where = {"PGHOST": address, "PGPORT": str(port or free_port()), "PGUSER": "mlflow", "PGDATABASE": "mlflow"}
    where["PGPASSWORD"] = (folder / "password").read_text()
    initdb = [PROGRAMS / "initdb", "-D", folder / "data", "-U", "mlflow", "-A", "scram-sha-256"]
    daemons.run([*as_its_user, *initdb, f"--pwfile={folder}/password"], cwd=folder)
    with (folder / "data/pg_hba.conf").open("a") as file:
        file.write("host all all 10.213.0.0/24 scram-sha-256\n")  # hosts.py
    options = ["-p", where["PGPORT"], "-h", address, "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    server = [PROGRAMS / "postgres", "-D", folder / "data", *options]
    daemons.start("postgres-log", [*as_its_user, *server], cwd=folder)
    environment = {**daemons.environment, **where, "PGDATABASE": "postgres"}
    create = [*on, "psql", "-c", "create database mlflow"]
    wait_for("PostgreSQL", lambda: daemons.run(create, env=environment))
    return where
