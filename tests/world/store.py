"""An MLflow store in memory, behind the interface that the tracker uses, and the tracker that is given it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException

from raysearch.tracking._mlflow_database import Change, Found
from raysearch.tracking._mlflow_place import RunLocation, is_final
from raysearch.tracking._mlflow_runs import Runs
from raysearch.tracking._mlflow_search import Search
from raysearch.tracking._writer import Together, Writer
from raysearch.tracking.mlflow import Mlflow

from .books import hold
from .machine import Clock, Fuse


class Page(list):
    token = None


class Store:
    """Runs by id, as `MlflowClient` shows them. It may be silent for a while, refuse, or do a thing and not say so."""

    def __init__(self, fuse: Fuse, g: random.Random, clock: Clock, as_tables: bool = False) -> None:
        self.runs: dict[str, Any] = {}
        self.tables: Any = Tables(self) if as_tables else None
        self.fuse, self.g, self.clock = fuse, g, clock
        self.p_lost_answer = self.p_error = 0.0
        self.silent_until = -1.0
        self.artifacts: set[tuple[str, str]] = set()

    def mend(self) -> None:
        """Let no more faults happen."""
        self.p_lost_answer = self.p_error = 0.0
        self.silent_until = -1.0

    def _do(self, change: Callable[[], Any]) -> Any:
        self.fuse.burn()
        if self.clock.now < self.silent_until:
            raise ConnectionError("[Errno 111] Connection refused")
        if self.p_error and self.g.random() < self.p_error:
            self.silent_until = self.clock.now + self.g.choice((0.2, 0.2, 3.0))
            raise ConnectionError("Read timed out")
        result = change()
        if self.p_lost_answer and self.g.random() < self.p_lost_answer:
            self.silent_until = self.clock.now + self.g.choice((0.1, 0.1, 2.0))
            raise ConnectionError("Read timed out")
        return result

    def get_experiment(self, experiment_id: str) -> Any:
        return self._do(lambda: SimpleNamespace(experiment_id=experiment_id))

    def create_run(self, experiment_id: str, start_ms: int, tags: dict[str, str], run_name: str) -> Any:
        return self._do(lambda: self.add(f"{len(self.runs):032x}", start_ms, tags, run_name))

    def add(self, id_: str, start_ms: int, tags: dict[str, str], run_name: str) -> Any:
        info = SimpleNamespace(
            run_id=id_, status="RUNNING", artifact_uri=id_, start_time=start_ms, end_time=None, run_name=run_name
        )
        data = SimpleNamespace(params={}, tags=dict(tags), metrics={}, points={})
        self.runs[id_] = SimpleNamespace(info=info, data=data)
        return self.runs[id_]

    def get_run(self, run_id: str) -> Any:
        return self._do(lambda: self.runs[run_id])

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        self._do(lambda: self.add_to(run_id, metrics, params, tags))

    def add_to(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        data = self.runs[run_id].data
        for param in params:
            if data.params.get(param.key, param.value) != param.value:
                raise MlflowException(f"parameter {param.key} changes", error_code=1000)  # INVALID_PARAMETER_VALUE
        data.params.update({param.key: param.value for param in params})
        for metric in metrics:
            # as in its tables: the same point twice is one
            points = data.points.setdefault(metric.key, {})
            points[metric.step, metric.timestamp, str(metric.value)] = metric
            latest = max(points.values(), key=lambda one: (one.step, one.timestamp, one.value))
            data.metrics[metric.key] = latest.value
        data.tags.update({tag.key: tag.value for tag in tags})

    def set_terminated(self, run_id: str, status: str, end_time: int) -> None:
        def end() -> None:
            info = self.runs[run_id].info
            info.status, info.end_time = status, end_time

        self._do(end)

    def update_run(self, run_id: str, status: str) -> None:
        def update() -> None:
            self.runs[run_id].info.status = status

        self._do(update)

    def get_metric_history(self, run_id: str, key: str) -> list[Any]:
        return self._do(lambda: list(self.runs[run_id].data.points.get(key, {}).values()))

    def search_runs(self, experiment_ids: list[str], filter_string: str, max_results: int, page_token: Any) -> Page:
        wanted = re.findall(r"tags\.`([^`]+)` = '([^']*)'", filter_string)
        return self._do(
            lambda: Page(r for r in self.runs.values() if all(r.data.tags.get(name) == v for name, v in wanted))
        )

    def upload(self, artifact_uri: str, store_uri: str, path: Path) -> None:
        self._do(lambda: self.artifacts.add((artifact_uri, path.name)))

    def image(self) -> dict[Any, Any]:
        """Return all that a user sees, by what each run is, but for times and MLflow's ids."""
        shown = {}
        for run in self.runs.values():
            tags = {name: v for name, v in run.data.tags.items() if name != "mlflow.parentRunId" and v != ""}
            points = {
                name: sorted((one.step, str(one.value)) for one in held.values())
                for name, held in run.data.points.items()
            }
            key = tags.get("raysearch.configuration", ""), tags.get("raysearch.seed")
            shown.setdefault(key, []).append(
                {
                    "tags": tags,
                    "params": dict(run.data.params),
                    "points": points,
                    "metrics": {name: str(value) for name, value in run.data.metrics.items()},
                    "status": run.info.status,
                }
            )
        return shown


class Tables:
    """The same store as a database: what many runs are to show is written in one step, or not at all."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def runs(self, experiment_id: str, search: str) -> list[Found]:
        return self._found(lambda run: run.data.tags.get("raysearch.run") == search)

    def run(self, run_id: str) -> list[Found]:
        return self._found(lambda run: run.info.run_id == run_id)

    def _found(self, chosen: Callable[[Any], bool]) -> list[Found]:
        return self.store._do(
            lambda: [
                Found(run.info.run_id, run.info.artifact_uri, run.info.status, bool(run.data.params), run.data.tags)
                for run in self.store.runs.values()
                if chosen(run)
            ]
        )

    def shown(self, run_ids: Any) -> dict[str, Any]:
        held = self.store.runs
        return self.store._do(lambda: {i: (dict(held[i].data.metrics), dict(held[i].data.tags)) for i in run_ids})

    def histories(self, run_ids: Any) -> dict[str, Any]:
        def history(run: Any) -> Any:
            return {
                name: {
                    one.step: (one.value, one.timestamp) for one in sorted(points.values(), key=lambda p: p.timestamp)
                }
                for name, points in run.data.points.items()
            }

        return self.store._do(lambda: {id_: history(self.store.runs[id_]) for id_ in run_ids})

    def made(self, run_id: str, experiment_id: str, started_ms: int, name: str) -> dict[str, Any]:
        return {"artifact_uri": run_id, "start_time": started_ms, "name": name}

    def write(self, changes: Mapping[str, Change]) -> None:
        def apply() -> None:
            for id_, one in changes.items():
                if one.made is not None:
                    hold(id_ not in self.store.runs, "an id is used once", id_)
                    self.store.add(id_, one.made["start_time"], one.tags, one.made["name"])
                info = self.store.runs[id_].info
                info.status, info.end_time = one.status or info.status, one.end_ms or info.end_time
                params = [Param(name, value) for name, value in one.params.items()]
                self.store.add_to(id_, one.metrics, params, [RunTag(*tag) for tag in one.tags.items()])

        self.store._do(apply)


class InMemory(Runs):
    """Runs whose artifacts pass by no real disk."""

    def write(self, key: Any, name: str, content: str) -> None:
        self._upload(self.run_id(key), "", Path(name))

    def attach(self, key: Any, path: Path, name: str) -> None:
        self._upload(self.run_id(key), "", Path(name))


class Stepped(Writer):
    """A writer whose calls are carried out where the world wants it, in no thread."""

    def _start(self) -> None:
        self.next_s = 0.0
        self._ended = False

    def step(self) -> None:
        """Try what is due, if there is anything and its pause is over."""
        if self.backlog and not self._ended and self._clock.monotonic() >= self.next_s:
            pause_s = self.attempt()
            self._ended = pause_s is None
            self.next_s = self._clock.monotonic() + min(pause_s or 0.0, 1.0 if self._closing.is_set() else 30.0)

    def _works(self, seconds: float) -> bool:
        if self._ended:
            return False
        if self.next_s > self._clock.monotonic():
            self._clock.sleep(seconds)
        if self._gave_up.is_set():
            self.next_s = 0.0
        self.step()
        return not self._ended


class Tracked(Mlflow):
    """The MLflow tracker with a store in memory."""

    @classmethod
    def on(cls, store: Store) -> Tracked:
        tracker = cls(timeout_s=2.0, curves=False)
        object.__setattr__(tracker, "store", store)
        return tracker

    def let_go(self) -> None:
        """Give the environment back, as the end of a process does."""
        for session in self._open:
            session.environment.release()

    def _reach(self, name: str, run_dir: Path) -> tuple[Runs, bool]:
        place = RunLocation("memory", "1", name, "one")
        return InMemory(self.store, place, self.store.upload, self.store.tables), bool(self.store.runs)

    def _writer(self, search: Search, hint: str) -> Writer:
        together = Together(search.repeatable, search.runs.together) if self.store.tables else None
        return Stepped(search.runs.alive, self.timeout_s, hint, is_final, self.store.clock, together)
