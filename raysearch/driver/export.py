"""Hand a search on: its configurations as a study of Optuna, its instances as a table, finished or not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raysearch.analysis.completion import TARGETS
from raysearch.criteria.objectives import Objective, label
from raysearch.criteria.summary import summarize
from raysearch.driver import finish
from raysearch.driver.replayed import race_of
from raysearch.driver.run import load
from raysearch.errors import ExportError, RunDirectoryError, unknown
from raysearch.experiment.experiment import DEFINED_BY, Experiment
from raysearch.race.race import Race
from raysearch.race.verdict import comparable
from raysearch.records import InstanceResult, Outcome, Status, TrialRequest, Verdict
from raysearch.samplers.search_space import parse
from raysearch.samplers.study import Source, State, Trial, write
from raysearch.storage.decoding import Entry, taken_back
from raysearch.storage.events import Tell
from raysearch.storage.instances import write_parquet
from raysearch.storage.whole_file import whole

if TYPE_CHECKING:
    import pandas as pd


Show = Callable[[str, int, int | None], None]
"""Hears what is being done, how much of it is, and of how much, where that is known."""
_ROWS_AT_ONCE = 2_000


def _nobody(doing: str, n_done: int, n: int | None) -> None:
    """Hear it, and say nothing."""


def export(
    run_dir: Path, to: str, where: str, *, study: str | None = None, replace: bool = False, show: Show = _nobody
) -> str:
    """Write the search in `run_dir` to `where` and return in words what was written.

    To `optuna`, `where` is the address of a storage and `study` the study's name there, the run directory's by default;
    to `csv` and `parquet` it is a file, with one row per instance. `replace` lets an earlier export go. `show` hears
    how far it is.

    Raises:
        UnknownNameError: there is no such target.
        ExportError: `where` cannot be written, or holds something already.
        RunDirectoryError, JournalError: there is no search, or its journal is damaged.
    """
    if to not in TARGETS:
        raise unknown("target of an export", to, TARGETS)
    if to == "optuna":
        return _to_optuna(run_dir, where, study or run_dir.absolute().name, replace, show)
    return _to_file(run_dir, to, where, replace, show)


def _to_file(run_dir: Path, to: str, where: str, replace: bool, show: Show) -> str:
    show("reading the journal", 0, None)
    path, done = Path(where), race_of(run_dir)[0].done
    if "://" in where:
        raise ExportError(f"{where} is the address of a storage: a {to} export goes to a file, e.g. instances.{to}")
    if path.is_dir():
        raise ExportError(f"cannot write {path}: it is a directory. Name a file in it")
    if path.exists() and not replace:
        raise ExportError(f"{path} is there already: `--replace` writes it anew, or name another file")
    table = load(run_dir)
    try:
        if to == "parquet":
            show("writing instances", 0, None)
            write_parquet(table, path)
        else:
            _write_csv(table, path, show)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}") from error
    except RunDirectoryError as error:
        raise ExportError(str(error)) from error
    return f"{len(table)} instances are in {path}{_unfinished(done)}."


def _write_csv(table: pd.DataFrame, path: Path, show: Show) -> None:
    with whole(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        for start in range(0, max(len(table), 1), _ROWS_AT_ONCE):
            show("writing instances", start, len(table))
            rows = table.iloc[start : start + _ROWS_AT_ONCE].copy()
            rows["curve"] = rows["curve"].map(lambda curve: json.dumps([float(one) for one in curve]))
            rows.to_csv(file, index=False, header=not start)


def _to_optuna(run_dir: Path, url: str, name: str, replace: bool, show: Show) -> str:
    show("reading the journal", 0, None)
    race, experiment, history = race_of(run_dir)
    objectives = finish.objectives_of(experiment)
    search = _Search(race, objectives, finish.verdict_of(race, experiment) if race.done else None, history)
    n_trials = len(race.state.pool.configurations)
    trials = []
    for row in range(n_trials):
        show("reading configurations", row, n_trials)
        trials.append(search.trial(row))
    by_function = DEFINED_BY in experiment.space
    source = Source(
        f"{experiment.name} since {history[0].time_s:.3f}",
        len(history),
        tuple(one.label for one in objectives) or (label(experiment.criterion),),
        _said(run_dir, experiment, search.verdict, by_function),
    )
    written = write(
        url,
        name,
        source,
        trials,
        None if by_function else parse(experiment.space).parameters,
        anew=replace,
        tell=lambda n_written: show("writing trials", n_written, n_trials),
    )
    if not written:
        return f"The study {name!r} holds this search already: nothing was changed."
    counts = [f"{n} {state.value}" for state in State if (n := sum(one.state is state for one in trials))]
    seen = " Its space is a Python function: ranges and choices are those seen." if by_function else ""
    many = f"{n_trials} configuration{'' if n_trials == 1 else 's'}"
    return f"{many} are in the study {name!r}: {', '.join(counts)}{_unfinished(race.done)}.{seen}"


def _unfinished(done: bool) -> str:
    return "" if done else "; the search has not ended: export it again when it has"


def _said(run_dir: Path, experiment: Experiment, verdict: Verdict | None, by_function: bool) -> dict[str, Any]:
    """Return what is said of the whole study."""
    said: dict[str, Any] = {
        "criterion": label(experiment.criterion),
        "rule": label(experiment.rule),
        "workload": label(experiment.workload),
        "seed": experiment.seed,
        "run_dir": str(run_dir.absolute()),
        "finished": verdict is not None,
    }
    if by_function:
        said["space"] = f"the Python function {experiment.space[DEFINED_BY]!r}: ranges and choices are those seen"
    if verdict is not None:
        said |= {
            "winner": verdict.winner.id,
            "note": verdict.note,
            "certified": verdict.certified,
            "probability": verdict.probability,
            "delta": verdict.delta,
            "n_instances": verdict.n_instances,
        }
    return {name: value for name, value in said.items() if value not in (None, "")}


@dataclass
class _Search:
    """A race and its history, from which the trials are read."""

    race: Race
    objectives: tuple[Objective, ...]
    verdict: Verdict | None
    history: Sequence[Entry]

    def __post_init__(self) -> None:
        state, back = self.race.state, taken_back(self.history)
        self.outcomes = state.pool.outcomes()
        self.comparable = {one.configuration.id for one in comparable(self.outcomes)}
        self.cuts = {id_: cut for cut in state.eliminations for id_ in cut.configurations}
        self.winner = state.winner
        self.survivors = set(state.survivors.tolist())
        self.results: dict[str, dict[int, InstanceResult]] = {}
        self.times: dict[str, tuple[float, float]] = {}
        for number, time_s, event in self.history:
            if isinstance(event, TrialRequest):
                id_ = event.configuration.id
            elif isinstance(event, Tell) and number not in back:
                id_ = event.key.configuration_id
                self.results.setdefault(id_, {})[event.key.seed] = event.result
            else:
                continue
            self.times[id_] = (self.times.get(id_, (time_s, 0.0))[0], time_s)

    def trial(self, row: int) -> Trial:
        """Return the configuration in a row as a trial."""
        outcome = self.outcomes[row]
        id_ = outcome.configuration.id
        counted = self._counted(row)
        state = self._state(row, outcome, counted)
        losses = np.asarray(outcome.losses)
        values: tuple[float, ...] = ()
        if len(losses) and state not in (State.FAIL, State.RUNNING, State.WAITING):
            values = tuple(_number(one.value(outcome)) for one in self.objectives) or (
                _number(self.race.criterion(losses)),
            )
        steps = {n: _number(self.race.criterion(losses[:n])) for n in range(1, len(losses) + 1)}
        began_s, ended_s = self.times.get(id_, (self.history[0].time_s, self.history[0].time_s))
        return Trial(
            outcome.configuration.parameters,
            state,
            values,
            {} if self.objectives else steps,  # Optuna has none where there are several objectives
            self._attributes(row, losses, counted),
            began_s,
            max(ended_s, began_s),
        )

    def _counted(self, row: int) -> list[InstanceResult]:
        """Return the results of a row's instances that count, in the order of their columns."""
        pool, told = self.race.state.pool, self.results.get(self.race.state.pool.id(row), {})
        columns = np.flatnonzero(~np.isnan(pool.judged_losses(row))).tolist()
        return [told[self.race.state.race_key(row, column).seed] for column in columns]

    def _state(self, row: int, outcome: Outcome, counted: Sequence[InstanceResult]) -> State:
        if row == self.winner:
            return State.COMPLETE
        alive = row in self.survivors
        if alive and not self.race.state.pool.asked[row]:
            return State.WAITING
        if alive and self.verdict is None:
            return State.RUNNING
        if counted and all(result.status is Status.FAILED for result in counted):
            return State.FAIL
        if self.objectives:  # the Pareto set is looked for among these
            finite = all(math.isfinite(one.value(outcome)) for one in self.objectives) if outcome.losses else False
            return State.COMPLETE if finite and outcome.configuration.id in self.comparable else State.PRUNED
        as_deep = self.winner is not None and len(outcome.losses) >= len(self.outcomes[self.winner].losses)
        return State.COMPLETE if alive and as_deep else State.PRUNED

    def _attributes(self, row: int, losses: Any, counted: Sequence[InstanceResult]) -> dict[str, Any]:
        """Return what is said of a configuration: its instances one by one, their statistics, and how it ended."""
        id_ = self.race.state.pool.id(row)
        said: dict[str, Any] = {"configuration": id_, "standing": self._standing(row), "n_instances": len(losses)}
        if len(losses):
            summary = summarize(losses, self.race.criterion)
            said |= {name: getattr(summary, name) for name in ("median", "q3", "iqr", "max")}
        bad = {f"n_{status.value.lower()}": sum(one.status is status for one in counted) for status in _BAD}
        said |= {name: n for name, n in bad.items() if n}
        said |= {
            "losses": [one.loss for one in counted],
            "seeds": [one.key.seed for one in counted],
            "seconds": sum(one.seconds for one in counted),
        }
        if any(one.test_loss is not None for one in counted):
            said["test_losses"] = [one.test_loss for one in counted]
        if errors := [one.error.strip().splitlines()[-1] for one in counted if one.error.strip()]:
            said["error"] = errors[-1]
        if (cut := self.cuts.get(id_)) is not None:
            said |= {"cutoff": cut.cutoff}
            said |= {"reason": cut.reason} if cut.reason else {"round": cut.round} if cut.round else {}
        if row == self.winner and self.verdict is not None and self.verdict.confirmation is not None:
            confirmed = self.race.state.confirmation
            said["confirmed"] = self.verdict.confirmation.criterion
            said["confirmation_losses"] = [confirmed[index].loss for index in sorted(confirmed)]
        return {name: value for name, value in said.items() if not _is_nan(value)}

    def _standing(self, row: int) -> str:
        pool = self.race.state.pool
        if row == self.winner and self.verdict is not None:
            return "winner"
        cut = self.cuts.get(pool.id(row))
        if cut is not None and cut.reason:
            return "dropped by a person"
        if not pool.asked[row]:
            return "never trained"
        if cut is not None:
            return "eliminated" if cut.round else "screened out"
        return "survivor" if row in self.survivors else "left in an earlier wave"


_BAD = (Status.DIVERGED, Status.FAILED)


def _number(value: Any) -> float:
    """Return a criterion as a trial holds it: of losses that are all infinite it may be NaN, which is as bad."""
    return math.inf if math.isnan(value) else float(value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
