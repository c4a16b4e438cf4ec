"""MLflow runs by key: each is opened, logged and ended once, however often it is asked for."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from raysearch.errors import TrackingError
from raysearch.tracking._mlflow_place import RunLocation

Key = tuple[str, int | None]
"""(configuration id, seed) of an instance, (configuration id, None) of a configuration, SEARCH of the search."""
SEARCH: Key = ("", None)
Upload = Callable[[str, str, Path], None]
"""Brings a file to the artifacts at an address, of the store at another."""
METRICS_PER_BATCH, OTHERS_PER_BATCH = 800, 90
"""MLflow takes 1000 entities in one batch, at most 100 of them parameters or tags."""


def metrics(values: Mapping[str, float], at_ms: int, step: int = 0) -> list[Metric]:
    """Return MLflow metrics; +inf becomes NaN, since MLflow would show 1.8e308 and spoil every chart."""
    return [
        Metric(name, float(value) if math.isfinite(value) else math.nan, at_ms, step) for name, value in values.items()
    ]


class Runs:
    """The runs of one search. An interrupted call is repeated as it is: what was done is found and left alone."""

    def __init__(self, client: MlflowClient, place: RunLocation, upload: Upload | None = None) -> None:
        self.client, self.place, self._upload_file = client, place, upload or _to_repository
        self._ids: dict[Key, str] = {}
        self._artifacts: dict[Key, str] = {}
        self._logged: set[Key] = set()
        self._ended: dict[Key, str] = {}
        """The MLflow status of the runs that are over."""
        self._ends: dict[Key, tuple[str, int | None]] = {}
        """How and when a run had ended that was taken up again, until something is written to it."""
        self._attempted: set[Key] = set()
        self._steps: dict[tuple[Key, str], dict[int, tuple[float, int]]] = {}
        """By run and metric, the last value at each step and its time, of those that `log_step` wrote or asked for."""
        self._half_written: set[Key] = set()
        """Runs of instances that were found and had not ended: what they show, tags too, may be of an earlier try."""
        self._empty: set[Key] = set()
        """Runs that were made just now: there is no history to ask for."""

    def __contains__(self, key: Key) -> bool:
        return key in self._ids

    def run_id(self, key: Key) -> str:
        """Return MLflow's id of a run that exists."""
        return self._ids[key]

    def alive(self) -> bool:
        """Tell whether the store answers."""
        return self.client.get_experiment(self.place.experiment_id) is not None

    def recall(self) -> None:
        """Read which runs of this search exist, so that nothing is written twice."""
        for run in self._search(f"tags.`raysearch.run` = '{self.place.search}'"):
            self._adopt(_key(run.data.tags), run)

    def open(self, key: Key, name: str, tags: Mapping[str, str], started_ms: int) -> str:
        """Return the id of the run of `key`, made with `name` and `tags` if there is none."""
        if key not in self._ids:
            if key in self._attempted:  # the store may have made it and died before it answered
                for run in self._search(_filter(self.place.search, key)):
                    self._adopt(key, run)
            if key not in self._ids:
                self._attempted.add(key)
                identity = {"raysearch.run": self.place.search, "raysearch.configuration": key[0]}
                if key[1] is not None:
                    identity["raysearch.seed"] = str(key[1])
                all_tags = {**tags, **{name: value for name, value in identity.items() if value}}
                made = self.client.create_run(self.place.experiment_id, started_ms, all_tags, run_name=name)
                self._empty.add(key)
                self._adopt(key, made)
            self._attempted.discard(key)
        return self._ids[key]

    def is_logged(self, key: Key) -> bool:
        """Tell whether `log_once` has been done."""
        return key in self._logged

    def is_half_written(self, key: Key) -> bool:
        """Tell whether a run was found that an earlier driver began to log, and did not end."""
        return key in self._half_written

    def is_ended(self, key: Key, status: str | None = None) -> bool:
        """Tell whether the run is over, and, if asked, with that MLflow status."""
        return key in self._ended and status in (None, self._ended[key])

    def log_once(
        self,
        key: Key,
        values: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write what a run says of itself once: in one request if it fits."""
        if key not in self._logged:
            self.log(key, values, params, tags)
            self._logged.add(key)

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
        self._ends.pop(key, None)
        for batch in range(n_batches):
            m, o = batch * METRICS_PER_BATCH, batch * OTHERS_PER_BATCH
            self.client.log_batch(
                self._ids[key],
                values[m : m + METRICS_PER_BATCH],
                all_params[o : o + OTHERS_PER_BATCH],
                all_tags[o : o + OTHERS_PER_BATCH],
            )

    def log_changed(self, key: Key, values: Mapping[str, float], tags: Mapping[str, str], at_ms: int) -> None:
        """Write only what differs from what the run shows: a metric written twice would gain a point."""
        shown = self.client.get_run(self._ids[key]).data
        fresh = {name: value for name, value in values.items() if not _same(shown.metrics.get(name), value)}
        new = {name: value for name, value in tags.items() if shown.tags.get(name) != value}
        # MLflow shows the latest: a correction must not seem older than what it corrects, whatever the clocks did
        for name in fresh.keys() & shown.metrics.keys():
            at_ms = max(at_ms, self.last_ms(key, name) + 1)
        if fresh or new:
            self.log(key, metrics(fresh, at_ms), tags=new)

    def log_step(self, key: Key, values: Mapping[str, float], step: int, at_ms: int) -> None:
        """Write those of `values` that are not at `step` yet; what is there is corrected."""
        shown = {name: self._history(key, name).get(step, (None, 0)) for name in values}
        fresh = {name: value for name, value in values.items() if not _same(shown[name][0], value)}
        if fresh:
            # of two points at one step MLflow shows the later: a correction must not seem older than what it corrects
            at_ms = max(at_ms, *(shown[name][1] + 1 for name in fresh))
            points = metrics(fresh, at_ms, step)
            self.log(key, points)
            for point in points:
                self._history(key, point.key)[step] = point.value, at_ms

    def _history(self, key: Key, name: str) -> dict[int, tuple[float, int]]:
        """Return the last value, and its time, at each step of a metric."""
        if (key, name) not in self._steps:
            points = [] if key in self._empty else self.client.get_metric_history(self._ids[key], name)
            points = sorted(points, key=lambda point: point.timestamp)
            self._steps[key, name] = {point.step: (point.value, point.timestamp) for point in points}
        return self._steps[key, name]

    def end(self, key: Key, status: str, at_ms: int) -> None:
        """End a run with an MLflow status; a run that has ended stays as it is."""
        if key not in self._ended:
            earlier, earlier_ms = self._ends.pop(key, (None, None))
            if earlier == status and earlier_ms is not None:  # taken up for nothing
                at_ms = earlier_ms
            self.client.set_terminated(self._ids[key], status, end_time=at_ms)
            self._ended[key] = status

    def reopen(self, key: Key) -> None:
        """Take up a run that had ended."""
        if key in self._ended:
            info = self.client.get_run(self._ids[key]).info
            self._ends[key] = info.status, info.end_time
            self.client.update_run(self._ids[key], status="RUNNING")
            del self._ended[key]

    def begin_again(self, key: Key) -> int:
        """Take up a run that had ended, to log it anew; returns when it had ended, in milliseconds."""
        self.reopen(key)
        self._logged.discard(key)
        return self._ends[key][1] or 0

    def open_configurations(self) -> list[Key]:
        """Return the keys of the configurations that still race."""
        return [key for key in self._ids if key[0] and key[1] is None and key not in self._ended]

    def last_ms(self, key: Key, name: str) -> int:
        """Return the latest time of a metric, in milliseconds; 0 where there is none."""
        points = self.client.get_metric_history(self._ids[key], name)
        return max((int(point.timestamp) for point in points), default=0)

    def params(self, key: Key) -> Mapping[str, str]:
        """Return the parameters of a run as the store has them."""
        found: Mapping[str, str] = self.client.get_run(self._ids[key]).data.params
        return found

    def tags(self, key: Key) -> Mapping[str, str]:
        """Return the tags of a run as the store has them."""
        found: Mapping[str, str] = self.client.get_run(self._ids[key]).data.tags
        return found

    def attach(self, key: Key, path: Path, name: str) -> None:
        """Upload the file at `path` as the artifact `name`."""
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, name)
            link.symlink_to(path.absolute())
            self._upload(key, link)

    def write(self, key: Key, name: str, content: str) -> None:
        """Upload a small text as the artifact `name`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_text(content, encoding="utf-8")
            self._upload(key, path)

    def _upload(self, key: Key, path: Path) -> None:
        self._upload_file(self._artifacts[key], self.place.uri, path)

    def _adopt(self, key: Key, run: Run) -> None:
        self._ids[key] = run.info.run_id
        self._artifacts[key] = run.info.artifact_uri
        if run.info.status != "RUNNING":
            self._ended[key] = run.info.status
        # MLflow keeps the parameters of a batch before its metrics, and a driver may have died before it ended the run
        if run.data.params and (key[1] is None or key in self._ended):
            self._logged.add(key)
        elif run.data.params or (key[1] is not None and key not in self._empty):
            self._half_written.add(key)

    def _search(self, condition: str) -> Iterator[Run]:
        token: str | None = None
        asked: set[str | None] = set()
        while token not in asked:
            asked.add(token)
            page = self.client.search_runs([self.place.experiment_id], condition, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return
        raise TrackingError(f"the list of its runs has no end: after the page {token!r:.40} comes that page again")


def _to_repository(artifact_uri: str, store_uri: str, path: Path) -> None:
    # not client.log_artifact: that reads the whole run again, 5 ms each
    get_artifact_repository(artifact_uri, tracking_uri=store_uri).log_artifact(str(path))


def is_final(error: Exception) -> bool:
    """Return whether MLflow will refuse a request however often it is repeated."""
    return isinstance(error, MlflowException) and error.error_code in _REFUSALS


_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST", "NOT_IMPLEMENTED")


def _key(tags: Mapping[str, str]) -> Key:
    seed = tags.get("raysearch.seed")
    return tags.get("raysearch.configuration", ""), None if seed is None else int(seed)


def _filter(search: str, key: Key) -> str:
    """Return the condition that finds the run of `key`; MLflow cannot ask for a tag that is absent, `kind` can."""
    kind = "search" if key == SEARCH else "configuration" if key[1] is None else "instance"
    conditions = {"raysearch.run": search, "kind": kind}
    if key[0]:
        conditions["raysearch.configuration"] = key[0]
    if key[1] is not None:
        conditions["raysearch.seed"] = str(key[1])
    return " AND ".join(f"tags.`{name}` = '{value}'" for name, value in conditions.items())


def _same(shown: float | None, value: float) -> bool:
    wanted = metrics({"": value}, 0)[0].value
    return shown is not None and (shown == wanted or (math.isnan(shown) and math.isnan(wanted)))
