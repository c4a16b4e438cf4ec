"""What the store shows of a search's runs: asked once, and of a database for many runs at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from raysearch.errors import TrackingError
from raysearch.tracking._mlflow_batch import Batch
from raysearch.tracking._mlflow_database import Found, History
from raysearch.tracking._mlflow_place import RunLocation

Key = tuple[str, int | None]
"""(configuration id, seed) of an instance, (configuration id, None) of a configuration, SEARCH of the search."""
SEARCH: Key = ("", None)
Shown = tuple[Mapping[str, float], Mapping[str, str]]
"""Latest metrics and tags of a run."""
ASKED_AT_ONCE = 500
"""Runs of which a database is asked in one request."""


class Reader:
    """Answers from what it was told before, as long as nobody says that a run was written to since."""

    def __init__(self, client: MlflowClient, place: RunLocation, batch: Batch | None) -> None:
        self._client, self._place, self._batch = client, place, batch
        self._shown: dict[str, Shown] = {}
        self._histories: dict[str, History] = {}
        self._whole: set[str] = set()
        """Runs whose history is known: a metric that is not in it has no points."""
        self._unshown: dict[str, None] = {}
        self._unread: dict[str, None] = {}
        """Runs that were recalled, and not asked for what they show, or for their history."""

    def recall(self) -> Iterator[tuple[Key, Found]]:
        """Yield all runs of the search."""
        if self._batch is None:
            held = self._search(f"tags.`raysearch.run` = '{self._place.search}'")
        else:
            held = iter(self._batch.database.runs(self._place.experiment_id, self._place.search))
        for found in held:
            key = _key(found.tags)
            if key[1] is None or found.status == "FAILED":
                self._unshown[found.run_id] = None
            if key[1] is None:
                self._unread[found.run_id] = None
            yield key, found

    def look_for(self, key: Key, run_id: str) -> Iterator[Found]:
        """Yield the run of `key`, that would have this id where the id was ours to choose, if there is one."""
        return self._search(_filter(self._place.search, key)) if self._batch is None else self._batch.look_for(run_id)

    def made(self, run_id: str) -> None:
        """Hear that a run was made just now: there is no history to ask for."""
        self._whole.add(run_id)

    def written(self, run_id: str) -> None:
        """Hear that something is written to a run: it shows something else now."""
        self._shown.pop(run_id, None)

    def forget(self, run_id: str) -> None:
        """Hear that what was written to a run may be there or not."""
        self._shown.pop(run_id, None)
        self._histories.pop(run_id, None)
        self._whole.discard(run_id)

    def shown(self, run_id: str) -> Shown:
        """Return the latest metrics and the tags of a run."""
        if self._batch is not None and run_id not in self._shown and run_id in self._unshown:
            self._shown |= self._batch.shown(_some(run_id, self._unshown))
        if run_id not in self._shown:
            data = self.run(run_id).data
            self._shown[run_id] = data.metrics, data.tags
        return self._shown[run_id]

    def history(self, run_id: str, name: str) -> dict[int, tuple[float, int]]:
        """Return the last value, and its time, at each step of a metric; whoever writes a step puts it there."""
        if self._batch is not None and run_id in self._unread:
            some = _some(run_id, self._unread)
            self._histories |= self._batch.histories(some)
            self._whole.update(some)
        steps = self._histories.setdefault(run_id, {})
        if name not in steps:
            points = [] if run_id in self._whole else self.points(run_id, name)
            steps[name] = {point.step: (point.value, point.timestamp) for point in points}
        return steps[name]

    def points(self, run_id: str, name: str) -> list[Any]:
        """Return the points of a metric by time, asked of the store."""
        self._flush()
        return sorted(self._client.get_metric_history(run_id, name), key=lambda point: point.timestamp)

    def run(self, run_id: str) -> Run:
        """Return a run, asked of the store."""
        self._flush()
        return self._client.get_run(run_id)

    def _flush(self) -> None:
        if self._batch is not None:
            self._batch.flush()

    def _search(self, condition: str) -> Iterator[Found]:
        token: str | None = None
        asked: set[str | None] = set()
        while token not in asked:
            asked.add(token)
            page = self._client.search_runs([self._place.experiment_id], condition, max_results=1000, page_token=token)
            for run in page:
                info, data = run.info, run.data
                if not data.tags.get("raysearch.seed") or info.status == "FAILED":
                    self._shown[info.run_id] = data.metrics, data.tags
                yield Found(info.run_id, info.artifact_uri, info.status, bool(data.params), data.tags)
            token = page.token
            if not token:
                return
        raise TrackingError(f"the list of its runs has no end: after the page {token!r:.40} comes that page again")


def _some(run_id: str, unasked: dict[str, None]) -> list[str]:
    """Return a run and others that were not asked yet, which are now."""
    some = [run_id, *itertools.islice((other for other in unasked if other != run_id), ASKED_AT_ONCE - 1)]
    for one in some:
        del unasked[one]
    return some


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
