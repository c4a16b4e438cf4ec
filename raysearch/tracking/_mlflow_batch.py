"""What is written to an MLflow database, gathered and written together; under the names of MLflow's client."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

from mlflow.entities import Metric, Param, RunTag

from raysearch.tracking._mlflow_database import Change, Database, Found, History


class Batch:
    """Writes at once, or, inside `together`, at its end, in one transaction. Who reads sees all that was written."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._changes: dict[str, Change] = {}
        self._gathers = False

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Keep what is written back until the end, or until somebody reads. Where that fails nothing of it is there."""
        self._gathers = True
        try:
            yield
            self.flush()
        finally:
            self._gathers = False
            self._changes.clear()

    def make(self, run_id: str, experiment_id: str, started_ms: int, tags: dict[str, str], name: str) -> str:
        """Make a run of an id that is still free; return where its artifacts lie."""
        made = self.database.made(run_id, experiment_id, started_ms, name)
        self._changes[run_id] = Change(made, tags={**tags, "mlflow.runName": name})
        self._written()
        return str(made["artifact_uri"])

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[Param] = (), tags: Sequence[RunTag] = ()
    ) -> None:
        """Write what a run says of itself."""
        change = self._of(run_id)
        change.metrics += metrics
        change.params |= {one.key: one.value for one in params}
        change.tags |= {one.key: one.value for one in tags}
        self._written()

    def set_terminated(self, run_id: str, status: str, end_time: int) -> None:
        """End a run."""
        change = self._of(run_id)
        change.status, change.end_ms = status, end_time
        self._written()

    def update_run(self, run_id: str, status: str) -> None:
        """Give a run another status."""
        self._of(run_id).status = status
        self._written()

    def look_for(self, run_id: str) -> Iterator[Found]:
        """Yield the run of this id, if there is one."""
        self.flush()
        yield from self.database.run(run_id)

    def shown(self, run_ids: Collection[str]) -> dict[str, tuple[dict[str, float], dict[str, str]]]:
        """Return the latest metrics and the tags of runs."""
        self.flush()
        return self.database.shown(run_ids)

    def histories(self, run_ids: Collection[str]) -> dict[str, History]:
        """Return the metrics of runs, at each step the last."""
        self.flush()
        return self.database.histories(run_ids)

    def flush(self) -> None:
        """Write what is still to be written."""
        if self._changes:
            self.database.write(self._changes)
            self._changes.clear()

    def _of(self, run_id: str) -> Change:
        return self._changes.setdefault(run_id, Change())

    def _written(self) -> None:
        if not self._gathers:
            try:
                self.flush()
            finally:
                self._changes.clear()
