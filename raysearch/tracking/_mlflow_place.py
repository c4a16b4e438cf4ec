"""Where a search is kept in MLflow: finding the store, checking that it answers, making the experiment."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from raysearch.errors import TrackingError
from raysearch.storage.whole_file import whole
from raysearch.tracking import _mlflow_views as views
from raysearch.tracking._writer import in_short

PLACE_FILE = "mlflow.json"
HELD: dict[str, int] = {}
"""How many open trackers hold each of our environment variables."""
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")
HOPELESS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST", "NOT_IMPLEMENTED")


@dataclass(frozen=True)
class RunLocation:
    """One search in one store. `search` is the id that every run of it carries as the tag `raysearch.run`."""

    uri: str
    experiment_id: str
    experiment: str
    search: str

    @property
    def address(self) -> str:
        """What to start, if anything, and where to look: the view of configurations, best first."""
        page = views.link(self.experiment_id, "configurations")
        if self.uri.startswith(("http:", "https:")):
            return f"{without_credentials(self.uri).rstrip('/')}/{page}"
        file = _sqlite_file(self.uri)
        here = file == Path.cwd() / "mlflow.db"
        command = "mlflow ui" if here else f"mlflow ui --backend-store-uri {without_credentials(self.uri)}"
        return f"{command}  and open http://127.0.0.1:5000/{page}"

    def write(self, run_dir: Path) -> None:
        """Leave the place, without credentials, in the run directory: what finds it there goes on in it."""
        with whole(run_dir / PLACE_FILE) as aside:
            aside.write_text(json.dumps({**asdict(self), "uri": without_credentials(self.uri)}, indent=2) + "\n")


def without_credentials(uri: str) -> str:
    """Return `uri` without user and password; only this form may appear in a text, file or tag."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def connect(
    uri: str | None, experiment: str, run_dir: Path, timeout_s: float
) -> tuple[MlflowClient, RunLocation, bool]:
    """Return a client, the place of this search, and whether the search has been there before.

    Raises:
        TrackingError: the store does not answer or refuses; nothing has been trained yet.
    """
    uri = uri or mlflow.get_tracking_uri()
    with explained(uri), quiet():
        _check_address(uri, timeout_s)
        client = MlflowClient(tracking_uri=uri)
        experiment_id = _experiment(client, uri, experiment)
        _write_ahead(uri)
    earlier = _earlier(run_dir)
    place = RunLocation(uri, experiment_id, experiment, earlier or uuid.uuid4().hex[:16])
    place.write(run_dir)
    return client, place, earlier is not None


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn whatever the store raises into a TrackingError that says what to do."""
    try:
        yield
    except Exception as error:
        # a chained traceback would print the password in the address
        raise TrackingError(_why(uri, error)) from (error if uri == without_credentials(uri) else None)


def is_final(error: Exception) -> bool:
    """Return whether MLflow will refuse a request however often it is repeated."""
    return isinstance(error, MlflowException) and error.error_code in HOPELESS


def _earlier(run_dir: Path) -> str | None:
    """Return the search id that an earlier driver of this run directory left, if any."""
    path = run_dir / PLACE_FILE
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text())["search"])
    except (ValueError, KeyError, TypeError) as error:
        raise TrackingError(f"{path} is damaged ({error}). Remove it to track this search as a new one.") from error


def _check_address(uri: str, timeout_s: float) -> None:
    """Fail at once on a database server that is not there; SQLAlchemy would try for minutes."""
    parts = urlsplit(uri)
    if parts.scheme.split("+")[0] in ("postgresql", "mysql", "mssql") and parts.hostname:
        port = parts.port or {"postgresql": 5432, "mysql": 3306, "mssql": 1433}[parts.scheme.split("+")[0]]
        socket.create_connection((parts.hostname, port), timeout=timeout_s).close()


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Return the id of the experiment, made if it does not exist and brought back if it was deleted."""
    found = client.get_experiment_by_name(name)
    if found is None:
        kind = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens on its pages for chat bots
        try:
            found = client.get_experiment(client.create_experiment(name, _artifacts(uri), kind))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another driver was faster
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    wanted = {"mlflow.note.content": views.note(found.experiment_id), **views.tags()}
    for tag, value in wanted.items():
        if tag not in found.tags:  # what the user wrote there stays
            client.set_experiment_tag(found.experiment_id, tag, value)
    return str(found.experiment_id)


def _sqlite_file(uri: str) -> Path | None:
    path = uri.removeprefix("sqlite:///")
    return Path(path).absolute() if uri.startswith("sqlite:///") and path and ":memory:" not in path else None


def _artifacts(uri: str) -> str | None:
    """Keep artifacts beside the database; None, MLflow's own default, where that is the working directory."""
    file = _sqlite_file(uri)
    if file is None or file.parent == Path.cwd():
        return None
    return (file.parent / "mlruns" / uuid.uuid4().hex[:16]).as_uri()


def _write_ahead(uri: str) -> None:
    """Let the UI read while we write, and spare two of three fsyncs; the mode stays with the file."""
    file = _sqlite_file(uri)
    if file is not None:
        with contextlib.closing(sqlite3.connect(file, timeout=10)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def _why(uri: str, error: Exception) -> str:
    """Return the text of a TrackingError: the fact, the address, the remedy."""
    shown = without_credentials(uri)
    text = in_short(error)
    if getattr(error, "error_code", "") in REFUSED or "401" in text or "403" in text:
        remedy = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        return f"the tracking server {shown} refuses: {text}. {remedy}"
    if uri.startswith(("http:", "https:")):
        remedy = "Start it (`mlflow server`), correct the address, or leave it out to use sqlite:///mlflow.db."
        return f"the tracking server {shown} cannot be reached: {text}. {remedy}"
    remedy = "Choose another `uri` or unset MLFLOW_TRACKING_URI to use sqlite:///mlflow.db."
    return f"MLflow cannot use {shown}: {text}. {remedy}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow's INFO lines, on a fresh database or a saved model, out of the live view."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "mlflow.store.db.utils", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Environment:
    """MLflow's settings while a search runs: one short try per request, since the writer itself retries; no output.

    Values that the user has set in the environment stay; the others are taken back by `release`.
    """

    def __init__(self, timeout_s: float) -> None:
        wanted = {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, round(timeout_s))),
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines and two requests for every instance
        }
        self._names = [name for name in wanted if name not in os.environ or name in HELD]
        for name in self._names:
            HELD[name] = HELD.get(name, 0) + 1
            os.environ[name] = wanted[name]

    def release(self) -> None:
        """Take our values back, unless another open tracker holds them too."""
        for name in self._names:
            HELD[name] -= 1
            if not HELD[name]:
                del HELD[name]
                os.environ.pop(name, None)
        self._names = []
