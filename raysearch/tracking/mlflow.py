"""MLflow as the tracker: experiment = search, parent run = configuration, nested run = instance."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from annotated_types import Ge

from raysearch.errors import ExperimentError, TrackingError
from raysearch.records import (
    Configuration,
    InstanceResult,
    Model,
    Phase,
    Progress,
    Status,
    Summary,
    TrialRequest,
    Verdict,
)
from raysearch.registry import Validated
from raysearch.rules import Elimination
from raysearch.storage.weights import WeightStore
from raysearch.tracking._writer import Together, Writer, log

if TYPE_CHECKING:
    from raysearch.tracking._mlflow_place import Environment
    from raysearch.tracking._mlflow_runs import Runs
    from raysearch.tracking._mlflow_search import Search


class _Session:
    """What a tracker holds while a search is open."""

    def __init__(self, search: Search, writer: Writer, store: WeightStore, environment: Environment) -> None:
        self.search, self.writer, self.store, self.environment = search, writer, store, environment
        self.known: set[str] = set()
        self.finished = self.closed = False


@dataclass(frozen=True)
class Mlflow(Validated):
    """Keeps every instance in MLflow; one background thread writes, the race never waits.

    Args:
        uri: tracking store or server; None is MLFLOW_TRACKING_URI, else MLflow's own `sqlite:///mlflow.db`.
        experiment: MLflow experiment; None is the search's name.
        weights: whose instances' weights are uploaded: `all`, `winner` or `none` (then there is no model either).
        curves: keep a loss curve as CSV beside the metric.
        register: name of the registered model; None is the search's name, "" registers nothing.
        timeout_s: longest wait for one answer of the server, and for a silent one at the end; at least 1.

    Raises:
        ExperimentError: a setting has a bad value, or `uri` carries a password.
    """

    uri: str | None = None
    experiment: str | None = None
    weights: Literal["all", "winner", "none"] = "winner"
    curves: bool = True
    register: str | None = None
    timeout_s: Annotated[float, Ge(1)] = 15.0
    _open: list[_Session] = field(default_factory=list, init=False, repr=False, compare=False)
    _now: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.uri and urlsplit(self.uri).password is not None:
            raise ExperimentError(
                "`uri` carries a password, which the journal would keep. Put it into MLFLOW_TRACKING_USERNAME and"
                " MLFLOW_TRACKING_PASSWORD (server) or MLFLOW_TRACKING_URI (database)."
            )

    @property
    def backlog(self) -> int:
        """Number of records that are still to be written."""
        return sum(session.writer.backlog for session in self._open)

    @property
    def n_lost(self) -> int:
        """Number of records that could not be written; the journal has them."""
        return sum(session.writer.n_lost for session in self._open)

    def make_room(self) -> None:
        """Wait until there is room for more records."""
        for session in self._open:
            session.writer.make_room()

    @property
    def address(self) -> str:
        """Where the open or last search is to be seen: a command to start, if any, and a link; empty before `open`."""
        return "".join(session.search.runs.place.address for session in self._open)

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        """Connect, make the experiment and the search run; raises TrackingError before anything trains."""
        # MLflow takes seconds to import: only a search that uses it pays
        from raysearch.tracking._mlflow_place import Environment, explained
        from raysearch.tracking._mlflow_search import Search

        environment = Environment(self.timeout_s)
        try:
            name = self.experiment or str(search.get("name") or "raysearch")
            runs, existed = self._reach(name, run_dir)
            with explained(runs.place.uri):
                if existed:
                    runs.recall()
                writing = Search(runs, self.curves)
                writing.begin(search, self._now_ms)
        except BaseException:
            environment.release()
            raise
        hint = f"`raysearch sync {run_dir}` writes them when it answers again."
        store = WeightStore.of(search, run_dir / "weights")
        self._open[:] = [_Session(writing, self._writer(writing, hint), store, environment)]

    def started(self, train: TrialRequest) -> None:
        """Make the configuration's run when its first instance starts, so that it can be seen racing."""
        session = self._session
        if train.configuration.id not in session.known:
            session.known.add(train.configuration.id)
            session.writer.put(session.search.configuration, train.configuration, self._now_ms)

    def told(self, configuration: Configuration, result: InstanceResult, phase: Phase) -> None:
        """Write an instance; its weights go to `run_dir/weights` at once, since the queue may be long."""
        session, now = self._session, self._now_ms
        kept: Path | None = None
        if result.weights is not None and self.weights != "none" and result.status is Status.COMPLETE:
            try:
                kept = session.store.keep(result.key, result.weights)
            except OSError as error:
                session.writer.lose()
                log.warning("weights of %s, seed %d, are lost: %s", configuration.id, result.key.seed, error)
        light = dataclasses.replace(result, weights=None)
        if self.weights == "winner":
            kept = None  # it is uploaded at the end, when the winner is known
        session.writer.put(session.search.instance, configuration, light, phase, now, kept)

    @property
    def shows_intervals(self) -> bool:
        """Whether a configuration's run shows the interval of its criterion."""
        return True

    def scored(self, configuration: Configuration, round: int, summary: Summary) -> None:
        """Write the statistics of a configuration; the metric's step is the round."""
        session = self._session
        session.writer.put(session.search.score, configuration, round, summary, self._now_ms)

    def eliminated(self, configurations: Sequence[Configuration], cut: Elimination[str]) -> None:
        """Mark the configurations; with `weights: winner` what was kept of them is deleted.

        Those that were never trained have no run.
        """
        session = self._session
        if cut.round and not cut.n_instances and not cut.reason:
            return
        for configuration, value in zip(configurations, cut.values, strict=True):
            if self.weights == "winner":
                session.store.drop(configuration.id)
            session.writer.put(session.search.eliminate, configuration, cut, value, self._now_ms)

    def advanced(self, progress: Progress) -> None:
        """Write survivors and incumbent."""
        if progress.incumbent is not None:
            self._session.writer.put(self._session.search.standing, progress, self._now_ms)

    def progress(self, progress: Progress) -> None:
        """Pass over: MLflow keeps how each round began."""

    def measured(self, configuration: Configuration, seed: int | None, numbers: Mapping[str, float]) -> None:
        """Write measures as metrics of the run of the configuration, or of its instance."""
        session = self._session
        session.writer.put(session.search.measure, configuration, seed, dict(numbers), self._now_ms)

    def finished(self, verdict: Verdict, artifacts: dict[str, Path], model: Model | None) -> None:
        """Write the verdict, the artifacts, the winner's weights and its model."""
        session, winner = self._session, verdict.winner.id
        writer, search = session.writer, session.search
        session.finished = True
        writer.put(search.conclude, verdict, self._now_ms)
        for path in artifacts.values():
            writer.put(search.artifact, path)
        writer.put(session.store.drop_all_but, winner)
        if self.weights == "winner":
            for seed, path in session.store.kept(winner).items():
                writer.put(search.weights, (winner, seed), path)
        if model is not None:
            writer.put(self._export, search, model)

    def close(self) -> None:
        """Write out what is left, at most `timeout_s` against a silent server, and let go."""
        if self._open and not self._open[0].closed:
            session = self._open[0]
            session.closed = True
            session.writer.put(session.search.end, session.finished, self._now_ms)
            session.writer.close()
            session.environment.release()

    def at(self, time_s: float) -> None:
        """Let what is told from now on have happened then, in seconds since 1970: a journal is told again."""
        self._now[:] = [round(1000 * time_s)]

    def _reach(self, name: str, run_dir: Path) -> tuple[Runs, bool]:
        """Return the runs of this search in its store, and whether it has been there before."""
        from raysearch.tracking._mlflow_database import Database
        from raysearch.tracking._mlflow_place import connect
        from raysearch.tracking._mlflow_runs import Runs

        client, place, existed = connect(self.uri, name, run_dir, self.timeout_s)
        return Runs(client, place, database=Database.of(place.uri)), existed

    def _writer(self, search: Search, hint: str) -> Writer:
        """Return what carries calls out behind the race."""
        from raysearch.tracking._mlflow_place import is_final

        runs = search.runs
        together = Together(search.repeatable, runs.together) if runs.writes_together else None
        return Writer(runs.alive, self.timeout_s, hint, is_final, together=together)

    @property
    def _now_ms(self) -> int:
        return self._now[0] if self._now else time.time_ns() // 1_000_000

    @property
    def _session(self) -> _Session:
        if not self._open:
            raise TrackingError("the MLflow tracker is not open: call open(search, run_dir) first")
        return self._open[0]

    def _export(self, search: Search, model: Model) -> None:
        from raysearch.tracking._mlflow_export import export

        export(search.runs, model, search.name if self.register is None else self.register)
