"""MLflow's tables, read and written for many runs at once where the store is a database: its client knows one run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import sqlalchemy as sql
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.uri import append_to_uri_path
from sqlalchemy.exc import SQLAlchemyError

History = dict[str, dict[int, tuple[float, int]]]
"""By metric and step the last value and its time."""
_RUNS, _TAGS, _PARAMS, _METRICS, _LATEST = (
    model.__table__ for model in (SqlRun, SqlTag, SqlParam, SqlMetric, SqlLatestMetric)
)
_POINT = {"run_uuid", "key", "value", "timestamp", "step", "is_nan"}
_KNOWN = {
    _RUNS: {
        *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status", "start_time"),
        *("end_time", "deleted_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id"),
    },
    _TAGS: {"run_uuid", "key", "value"},
    _PARAMS: {"run_uuid", "key", "value"},
    _METRICS: _POINT,
    _LATEST: _POINT,
}
"""The columns that this module knows how to fill."""
_IDS_AT_ONCE = 500
"""A database takes only so many values in one condition."""
_ANALYZED_FROM = 256
"""So many new runs make SQLite look at its tables, and twice as many each time after."""


@dataclass(frozen=True)
class Found:
    """A run as the store has it; `tags` are those that say what it is."""

    run_id: str
    artifacts: str
    status: str
    has_params: bool
    tags: Mapping[str, str]


@dataclass
class Change:
    """What is to be written of one run: all of it where it is `made`, else what is new."""

    made: Mapping[str, Any] | None = None
    status: str | None = None
    end_ms: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)


def tables_are_known() -> bool:
    """Return whether the installed MLflow has the tables that this module was written for."""
    return all(set(table.columns.keys()) == columns for table, columns in _KNOWN.items())


class Database:
    """The tables of a tracking store. Whatever fails raises MlflowException, and nothing of a `write` is there then."""

    def __init__(self, store: SqlAlchemyStore) -> None:
        self._store, self._locations = store, dict[str, str]()
        self._n_made, self._analyzed_at = 0, _ANALYZED_FROM

    @classmethod
    def of(cls, uri: str) -> Database | None:
        """Return the database at `uri`; None where there is none, or not one of known tables: then use the client."""
        if uri.startswith(("http:", "https:")) or ":memory:" in uri or not tables_are_known():
            return None
        try:
            return cls(SqlAlchemyStore(uri, "./mlruns"))
        except Exception:  # a directory, a store of some other kind, or with workspaces
            return None

    def runs(self, experiment_id: str, search: str) -> list[Found]:
        """Return the runs of an experiment whose tag `raysearch.run` is `search`."""
        mine = sql.select(_TAGS.c.run_uuid).where(_TAGS.c.key == "raysearch.run", _TAGS.c.value == search)
        return self._found(_RUNS.c.run_uuid.in_(mine), _RUNS.c.experiment_id == int(experiment_id))

    def run(self, run_id: str) -> list[Found]:
        """Return the run of this id, if there is one."""
        return self._found(_RUNS.c.run_uuid == run_id)

    def _found(self, *conditions: Any) -> list[Found]:
        chosen = (_RUNS.c.lifecycle_stage == "active", *conditions)
        with_params = sql.exists().where(_PARAMS.c.run_uuid == _RUNS.c.run_uuid)
        wanted = sql.select(_RUNS.c.run_uuid, _RUNS.c.artifact_uri, _RUNS.c.status, with_params).where(*chosen)
        named = _TAGS.c.key.in_(("raysearch.configuration", "raysearch.seed"))
        tagged = sql.select(_TAGS).join(_RUNS, _RUNS.c.run_uuid == _TAGS.c.run_uuid).where(named, *chosen)
        with self._store.ManagedSessionMaker() as session:
            tags: dict[str, dict[str, str]] = {}
            for row in session.execute(tagged):
                tags.setdefault(row.run_uuid, {})[row.key] = row.value
            found = session.execute(wanted).all()
            return [Found(id_, where, status, held, tags.get(id_, {})) for id_, where, status, held in found]

    def shown(self, run_ids: Collection[str]) -> dict[str, tuple[dict[str, float], dict[str, str]]]:
        """Return the latest metrics and the tags of runs."""
        shown: dict[str, tuple[dict[str, float], dict[str, str]]] = {id_: ({}, {}) for id_ in run_ids}
        with self._store.ManagedSessionMaker() as session:
            for row in _rows(session, _LATEST, run_ids):
                shown[row.run_uuid][0][row.key] = _value(row)
            for row in _rows(session, _TAGS, run_ids):
                shown[row.run_uuid][1][row.key] = row.value
        return shown

    def histories(self, run_ids: Collection[str]) -> dict[str, History]:
        """Return the metrics of runs, at each step the last."""
        found: dict[str, History] = {id_: {} for id_ in run_ids}
        with self._store.ManagedSessionMaker() as session:
            for row in sorted(_rows(session, _METRICS, run_ids), key=lambda row: row.timestamp):
                found[row.run_uuid].setdefault(row.key, {})[row.step] = _value(row), row.timestamp
        return found

    def made(self, run_id: str, experiment_id: str, started_ms: int, name: str) -> dict[str, Any]:
        """Return the row of a new run, as MLflow makes it."""
        if experiment_id not in self._locations:
            self._locations[experiment_id] = self._store.get_experiment(experiment_id).artifact_location
        return {
            "run_uuid": run_id,
            "name": name,
            "artifact_uri": append_to_uri_path(self._locations[experiment_id], run_id, "artifacts"),
            "experiment_id": int(experiment_id),
            "source_type": "UNKNOWN",
            **dict.fromkeys(("source_name", "entry_point_name", "source_version"), ""),
            "user_id": "unknown",
            "start_time": started_ms,
            "deleted_time": None,
            "lifecycle_stage": "active",
        }

    def write(self, changes: Mapping[str, Change]) -> None:
        """Write all in one transaction."""
        old = [id_ for id_, change in changes.items() if change.made is None]
        with self._store.ManagedSessionMaker(read_only=False) as session:
            for row in _rows(session, _RUNS, old, _RUNS.c.lifecycle_stage != "active"):
                raise MlflowException(f"The run {row.run_uuid} has been deleted", error_code=INVALID_PARAMETER_VALUE)
            _insert(session, _RUNS, (_whole(change) for change in changes.values() if change.made is not None))
            _end(session, {id_: changes[id_] for id_ in old})
            _write_tags(session, changes, old)
            _write_params(session, changes, old)
            self._write_metrics(session, changes, old)
        self._n_made += len(changes) - len(old)
        if self._n_made >= self._analyzed_at and self._store.engine.dialect.name == "sqlite":
            self._analyzed_at = 2 * self._n_made
            self._analyze()

    def _analyze(self) -> None:
        """Let SQLite look at samples of its tables, as other databases do by themselves: a twentieth of a second.

        Unanalyzed, it orders runs by a metric in time that grows with their square: 6.6 s for 6,912, not .4 s.
        """
        with suppress(SQLAlchemyError), self._store.engine.begin() as connection:  # locked, say: it is only slow then
            connection.exec_driver_sql("PRAGMA analysis_limit=1000")
            connection.exec_driver_sql("ANALYZE")

    def _write_metrics(self, session: Any, changes: Mapping[str, Change], old: Sequence[str]) -> None:
        points = {
            (id_, one.key, *self._stored(one.value), one.timestamp, one.step): None
            for id_, change in changes.items()
            for one in change.metrics
        }
        written = [id_ for id_ in old if changes[id_].metrics]
        for row in _rows(session, _METRICS, written):
            points.pop((row.run_uuid, row.key, row.value, row.is_nan, row.timestamp, row.step), None)
        columns = ("run_uuid", "key", "value", "is_nan", "timestamp", "step")
        rows = [dict(zip(columns, point, strict=True)) for point in points]
        _insert(session, _METRICS, rows)
        latest: dict[tuple[str, str], dict[str, Any]] = {}
        for row in rows:
            shown = latest.get((row["run_uuid"], row["key"]))
            if shown is None or _order(row) > _order(shown):
                latest[row["run_uuid"], row["key"]] = row
        later = []
        for held in _rows(session, _LATEST, written):
            row = latest.pop((held.run_uuid, held.key), None)
            if row is not None and _order(row) > (held.step, held.timestamp, held.value):
                later.append(row)
        _insert(session, _LATEST, latest.values())
        _update(session, _LATEST, ("value", "is_nan", "timestamp", "step"), later)

    def _stored(self, value: float) -> tuple[float, bool]:
        """Return a value as the tables keep it, and whether it is NaN."""
        is_nan, kept = self._store.sanitize_metric_value(value)
        return float(kept), bool(is_nan)


def _whole(change: Change) -> dict[str, Any]:
    return {**(change.made or {}), "status": change.status or "RUNNING", "end_time": change.end_ms}


def _end(session: Any, changes: Mapping[str, Change]) -> None:
    """Write the status of runs that exist."""
    ended = [
        {"run_uuid": id_, "status": change.status, "end_time": change.end_ms}
        for id_, change in changes.items()
        if change.status is not None
    ]
    _update(
        session, _RUNS, ("status", "end_time"), [row for row in ended if row["end_time"] is not None], ("run_uuid",)
    )
    _update(session, _RUNS, ("status",), [row for row in ended if row["end_time"] is None], ("run_uuid",))


def _write_tags(session: Any, changes: Mapping[str, Change], old: Sequence[str]) -> None:
    tags = {
        (id_, key): {"run_uuid": id_, "key": key, "value": value}
        for id_, change in changes.items()
        for key, value in change.tags.items()
    }
    held = {(row.run_uuid, row.key) for row in _rows(session, _TAGS, [id_ for id_ in old if changes[id_].tags])}
    _insert(session, _TAGS, (row for which, row in tags.items() if which not in held))
    _update(session, _TAGS, ("value",), [row for which, row in tags.items() if which in held])


def _write_params(session: Any, changes: Mapping[str, Change], old: Sequence[str]) -> None:
    params = {(id_, key): value for id_, change in changes.items() for key, value in change.params.items()}
    for row in _rows(session, _PARAMS, [id_ for id_ in old if changes[id_].params]):
        wanted = params.pop((row.run_uuid, row.key), row.value)
        if wanted != row.value:
            raise MlflowException(
                f"Changing param values is not allowed: {row.key} was logged with value {row.value!r}, now {wanted!r}",
                error_code=INVALID_PARAMETER_VALUE,
            )
    _insert(session, _PARAMS, ({"run_uuid": id_, "key": key, "value": value} for (id_, key), value in params.items()))


def _rows(session: Any, table: Any, run_ids: Iterable[str], *conditions: Any) -> Iterator[Any]:
    """Yield the rows of these runs."""
    left = iter(run_ids)
    while some := list(islice(left, _IDS_AT_ONCE)):
        yield from session.execute(sql.select(table).where(table.c.run_uuid.in_(some), *conditions)).all()


def _insert(session: Any, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    if held := list(rows):
        session.execute(sql.insert(table), held)


def _update(
    session: Any,
    table: Any,
    columns: Sequence[str],
    rows: Sequence[dict[str, Any]],
    by: Sequence[str] = ("run_uuid", "key"),
) -> None:
    if rows:
        which = (table.c[name] == sql.bindparam(f"of_{name}") for name in by)
        change = sql.update(table).where(*which).values({name: sql.bindparam(f"to_{name}") for name in columns})
        held = [
            {f"of_{name}": row[name] for name in by} | {f"to_{name}": row[name] for name in columns} for row in rows
        ]
        session.connection().execute(change, held)


def _value(row: Any) -> float:
    return float("nan") if row.is_nan else float(row.value)


def _order(row: Mapping[str, Any]) -> tuple[int, int, float]:
    """Return what MLflow compares to say which point of a metric is its latest."""
    return row["step"], row["timestamp"], row["value"]
