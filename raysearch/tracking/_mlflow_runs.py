"""MLflow runs by key: each is opened, logged and ended once, however often it is asked for."""

from __future__ import annotations

import contextlib
import copy
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from raysearch.tracking import _mlflow_artifacts as artifacts
from raysearch.tracking._mlflow_batch import Batch
from raysearch.tracking._mlflow_database import Database, Found
from raysearch.tracking._mlflow_place import RunLocation
from raysearch.tracking._mlflow_reader import Key, Reader

METRICS_PER_BATCH, OTHERS_PER_BATCH = 800, 90
"""MLflow takes 1000 entities in one batch, at most 100 of them parameters or tags."""


def metrics(values: Mapping[str, float], at_ms: int, step: int = 0) -> list[Metric]:
    """Return MLflow metrics; +inf becomes NaN, since MLflow would show 1.8e308 and spoil every chart."""
    return [
        Metric(name, float(value) if math.isfinite(value) else math.nan, at_ms, step) for name, value in values.items()
    ]


@dataclass
class _Run:
    """What is known of one run."""

    run_id: str
    artifacts: str
    ended: str | None = None
    """Its MLflow status where it is over."""
    logged: bool = False
    half_written: bool = False
    """An instance that was found and had not ended: what it shows, tags too, may be of an earlier try."""
    end: tuple[str, int | None] | None = None
    """How and when it had ended, where it was taken up again and nothing is written to it yet."""


class Runs:
    """The runs of one search. An interrupted call is repeated as it is: what was done is found and left alone.

    With a `database` what is written inside `together` is one transaction, and reading goes for many runs at once.
    """

    def __init__(
        self,
        client: MlflowClient,
        place: RunLocation,
        upload: artifacts.Upload = artifacts.to_repository,
        database: Database | None = None,
    ) -> None:
        self.client, self.place, self._upload = client, place, upload
        self._batch = None if database is None else Batch(database)
        self._store: Any = self._batch or client
        self._reader = Reader(client, place, self._batch)
        self._runs: dict[Key, _Run] = {}
        self._attempted: dict[Key, str] = {}
        """Runs that may have been made, with the id that they would have, "" where the store chooses it."""
        self._before: dict[Key, _Run | None] | None = None
        """What was known, at the beginning of `together`, of the runs that were touched in it."""

    def __contains__(self, key: Key) -> bool:
        return key in self._runs

    def run_id(self, key: Key) -> str:
        """Return MLflow's id of a run that exists."""
        return self._runs[key].run_id

    def alive(self) -> bool:
        """Tell whether the store answers."""
        return self.client.get_experiment(self.place.experiment_id) is not None

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write what is written inside at its end, all or nothing; where it fails, know what was known before."""
        if self._batch is None:
            yield
            return
        self._before = {}
        try:
            with self._batch.together():
                yield
        except BaseException:
            self._go_back(self._before)
            raise
        finally:
            self._before = None

    def _go_back(self, before: Mapping[Key, _Run | None]) -> None:
        for key, known in before.items():
            now = self._runs.pop(key, None)
            if now is not None:
                self._reader.forget(now.run_id)
            if known is not None:
                self._runs[key] = known
            elif now is not None:
                self._attempted[key] = now.run_id

    @property
    def writes_together(self) -> bool:
        """Whether many records take less together than one by one."""
        return self._batch is not None

    def recall(self) -> None:
        """Read which runs of this search exist, so that nothing is written twice."""
        for key, found in self._reader.recall():
            self._adopt(key, found)

    def open(self, key: Key, name: str, tags: Mapping[str, str], started_ms: int) -> str:
        """Return the id of the run of `key`, made with `name` and `tags` if there is none."""
        if key not in self._runs:
            if key in self._attempted:  # the store may have made it and died before it answered
                for found in self._reader.look_for(key, self._attempted[key]):
                    self._adopt(key, found)
            if key not in self._runs:
                self._make(key, name, tags, started_ms)
            self._attempted.pop(key, None)
        return self._runs[key].run_id

    def _make(self, key: Key, name: str, tags: Mapping[str, str], started_ms: int) -> None:
        identity = {"raysearch.run": self.place.search, "raysearch.configuration": key[0]}
        if key[1] is not None:
            identity["raysearch.seed"] = str(key[1])
        said = {**tags, **{name: value for name, value in identity.items() if value}}
        where = self.place.experiment_id
        if self._batch is None:
            self._attempted[key] = ""
            info = self.client.create_run(where, started_ms, said, run_name=name).info
            run = _Run(info.run_id, info.artifact_uri)
        else:
            run_id = self._attempted.setdefault(key, uuid.uuid4().hex)
            run = _Run(run_id, self._batch.make(run_id, where, started_ms, said, name))
        self._remember(key)
        self._runs[key] = run
        self._reader.made(run.run_id)

    def is_logged(self, key: Key) -> bool:
        """Tell whether `log_once` has been done."""
        return key in self._runs and self._runs[key].logged

    def is_half_written(self, key: Key) -> bool:
        """Tell whether a run was found that an earlier driver began to log, and did not end."""
        return key in self._runs and self._runs[key].half_written

    def is_ended(self, key: Key, status: str | None = None) -> bool:
        """Tell whether the run is over, and, if asked, with that MLflow status."""
        ended = self._runs[key].ended if key in self._runs else None
        return ended is not None and status in (None, ended)

    def log_once(
        self,
        key: Key,
        values: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write what a run says of itself once: in one request if it fits."""
        if not self.is_logged(key):
            self.log(key, values, params, tags)
            self._runs[key].logged = True

    def log(
        self,
        key: Key,
        values: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write metrics, parameters and tags in as few requests as MLflow's limits allow."""
        all_params = [Param(name, value) for name, value in (params or {}).items()]
        all_tags = [RunTag(name, value) for name, value in (tags or {}).items()]
        n_batches = max(
            1,
            -(-len(values) // METRICS_PER_BATCH),
            -(-len(all_params) // OTHERS_PER_BATCH),
            -(-len(all_tags) // OTHERS_PER_BATCH),
        )
        run = self._touched(key)
        run.end = None
        self._reader.written(run.run_id)
        for batch in range(n_batches):
            m, o = batch * METRICS_PER_BATCH, batch * OTHERS_PER_BATCH
            self._store.log_batch(
                run.run_id,
                values[m : m + METRICS_PER_BATCH],
                all_params[o : o + OTHERS_PER_BATCH],
                all_tags[o : o + OTHERS_PER_BATCH],
            )

    def log_changed(self, key: Key, values: Mapping[str, float], tags: Mapping[str, str], at_ms: int) -> None:
        """Write only what differs from what the run shows: a metric written twice would gain a point."""
        shown, told = self._reader.shown(self._runs[key].run_id)
        fresh = {name: value for name, value in values.items() if not _same(shown.get(name), value)}
        new = {name: value for name, value in tags.items() if told.get(name) != value}
        # MLflow shows the latest: a correction must not seem older than what it corrects, whatever the clocks did
        for name in fresh.keys() & shown.keys():
            at_ms = max(at_ms, self.last_ms(key, name) + 1)
        if fresh or new:
            self.log(key, metrics(fresh, at_ms), tags=new)

    def log_step(self, key: Key, values: Mapping[str, float], step: int, at_ms: int) -> None:
        """Write those of `values` that are not at `step` yet; what is there is corrected."""
        run_id = self._runs[key].run_id
        shown = {name: self._reader.history(run_id, name).get(step, (None, 0)) for name in values}
        fresh = {name: value for name, value in values.items() if not _same(shown[name][0], value)}
        if fresh:
            # of two points at one step MLflow shows the later: a correction must not seem older than what it corrects
            at_ms = max(at_ms, *(shown[name][1] + 1 for name in fresh))
            points = metrics(fresh, at_ms, step)
            self.log(key, points)
            for point in points:
                self._reader.history(run_id, point.key)[step] = point.value, at_ms

    def end(self, key: Key, status: str, at_ms: int) -> None:
        """End a run with an MLflow status; a run that has ended stays as it is."""
        if not self.is_ended(key):
            run = self._touched(key)
            earlier, earlier_ms = run.end or (None, None)
            if earlier == status and earlier_ms is not None:  # taken up for nothing
                at_ms = earlier_ms
            self._store.set_terminated(run.run_id, status, end_time=at_ms)
            run.ended, run.end = status, None

    def reopen(self, key: Key) -> None:
        """Take up a run that had ended."""
        if self.is_ended(key):
            run = self._touched(key)
            info = self._reader.run(run.run_id).info
            run.end = info.status, info.end_time
            self._store.update_run(run.run_id, status="RUNNING")
            run.ended = None

    def begin_again(self, key: Key) -> int:
        """Take up a run that had ended, to log it anew; returns when it had ended, in milliseconds."""
        self.reopen(key)
        run = self._touched(key)
        run.logged = False
        return (run.end or ("", None))[1] or 0

    def open_configurations(self) -> list[Key]:
        """Return the keys of the configurations that still race."""
        return [key for key, run in self._runs.items() if key[0] and key[1] is None and run.ended is None]

    def last_ms(self, key: Key, name: str) -> int:
        """Return the latest time of a metric, in milliseconds; 0 where there is none."""
        points = self._reader.points(self._runs[key].run_id, name)
        return int(points[-1].timestamp) if points else 0

    def params(self, key: Key) -> Mapping[str, str]:
        """Return the parameters of a run as the store has them."""
        found: Mapping[str, str] = self._reader.run(self._runs[key].run_id).data.params
        return found

    def tags(self, key: Key) -> Mapping[str, str]:
        """Return the tags of a run as the store has them."""
        return self._reader.shown(self._runs[key].run_id)[1]

    def attach(self, key: Key, path: Path, name: str) -> None:
        """Upload the file at `path` as the artifact `name`."""
        artifacts.attach(self._runs[key].artifacts, self.place.uri, path, name, self._upload)

    def write(self, key: Key, name: str, content: str) -> None:
        """Upload a small text as the artifact `name`."""
        artifacts.write(self._runs[key].artifacts, self.place.uri, name, content, self._upload)

    def _touched(self, key: Key) -> _Run:
        """Return what is known of a run that is about to change."""
        self._remember(key)
        return self._runs[key]

    def _remember(self, key: Key) -> None:
        """Keep what is known of a run until all is written."""
        if self._before is not None and key not in self._before:
            self._before[key] = copy.copy(self._runs.get(key))

    def _adopt(self, key: Key, found: Found) -> None:
        """Know of a run that was found."""
        self._remember(key)
        ended = None if found.status == "RUNNING" else found.status
        # MLflow keeps the parameters of a batch before its metrics, and a driver may have died before it ended the run
        logged = found.has_params and (key[1] is None or ended is not None)
        half_written = not logged and (found.has_params or key[1] is not None)
        self._runs[key] = _Run(found.run_id, found.artifacts, ended, logged, half_written)


def _same(shown: float | None, value: float) -> bool:
    wanted = metrics({"": value}, 0)[0].value
    return shown is not None and (shown == wanted or (math.isnan(shown) and math.isnan(wanted)))
