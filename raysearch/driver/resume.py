"""Go on with a search: rebuild its race from the journal, and start a fresh executor for what is missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raysearch.driver.alone import alone
from raysearch.driver.learn import learnt_of
from raysearch.driver.replayed import experiment_in, experiment_of
from raysearch.driver.run import SearchResult, build, carry_out, make_race, opened, runner_of, trackers
from raysearch.errors import ExperimentError
from raysearch.experiment import yaml_text
from raysearch.experiment.experiment import Experiment
from raysearch.race import Propose
from raysearch.race.race import Race
from raysearch.storage.decoding import Entry
from raysearch.storage.events import Learn, Reopen, Resume, Start, Tell, Wave
from raysearch.storage.journal import Journal, all_entries
from raysearch.storage.run_directory import RunDirectory
from raysearch.tracking import Tracker

_CHANGEABLE = ("race", "rule", "sampler", "execution", "tracking", "measures")


@alone()
def resume(
    run_dir: str | Path,
    values: Mapping[str, Any] | None = None,
    *,
    retry_failed: bool = False,
    workload: Any = None,
    space: Any = None,
    watchers: Sequence[Tracker] = (),
) -> SearchResult:
    """Go on with the search in `run_dir`, broken off or finished; only what was in flight is trained again.

    `values` change settings by dotted keys: `race.confirm` for more confirmation, `sampler.n_configurations` for more
    configurations, parameters of the rule for more instances. `retry_failed` trains again what had failed for good and
    decides anew on what comes of it. `workload` and `space` are the object or functions that a search was started with
    from Python.

    Raises:
        JournalError: the journal is damaged, or another driver runs in this directory.
        ExperimentError: a setting is changed that would make the instances there incomparable with new ones; or
            instances failed for good and are to end the search, not to count (`race.on_failure: raise`).
    """
    directory = RunDirectory.open(Path(run_dir))
    with Journal(directory.journal) as journal:
        history = all_entries(directory.journal)
        before = experiment_of(history)
        experiment = before.with_values(values or {})
        _check_changes(before, experiment)
        # once the sampler has spoken, what it had been taught is in the journal
        began = any(isinstance(event, Wave | Learn) for _, _, event in history)
        learnt = learnt_of(history) if began else None
        parts = build(experiment, _workload(experiment, workload), space, learnt)
        race = make_race(parts, journal)
        race.replay(history)  # first: what is refused must leave no trace, not even in the tracker
        if experiment.race.on_failure == "raise" and not retry_failed:
            _refuse_failures(race, history)
        parts.executor.check(parts.instrumented)
        data = experiment.model_dump(mode="json")
        now = time.time()
        with opened(trackers(parts, watchers), data, directory, now) as tracker:
            journal.append(Resume(data), now)
            directory.write_text(directory.experiment, yaml_text.dump(data))
            runner = runner_of(parts, race, tracker)
            if not began:
                race.note(*parts.learnt)
            go_on(
                race, parts.propose, retry_failed=retry_failed, rule_changed=rule_in_force(history) != experiment.rule
            )
            return carry_out(parts, runner, directory)


def rule_in_force(
    history: Sequence[Entry], rule_of: Callable[[int, Start | Resume], Any] = lambda n, e: experiment_in(n, e).rule
) -> Any:
    """Return the rule that has decided so far, None where there is none.

    A driver that names another rule and dies before it opens the pool anew has not brought it into force.
    """
    named, in_force, has_pool = None, None, False
    for number, _, event in history:
        if isinstance(event, Start | Resume):
            named = rule_of(number, event)
            in_force = in_force if has_pool else named
        elif isinstance(event, Wave):
            has_pool = True
        elif isinstance(event, Reopen) and event.whole_pool:
            in_force = named
    return in_force


def _refuse_failures(race: Race, history: Sequence[Entry]) -> None:
    """Raise ExperimentError where instances failed for good: `on_failure: raise` would be undone by going on."""
    failed = race.state.failed
    if not failed:
        return
    told = {event.key: event.result.error for _, _, event in history if isinstance(event, Tell)}
    first = next(error for key, error in told.items() if key in failed)
    last_line = (first.strip().splitlines() or ["unknown"])[-1]
    raise ExperimentError(
        f"{len(failed)} instance{'s' * (len(failed) > 1)} failed for good, the first with {last_line!r}, and "
        "race.on_failure is 'raise'. Mend the cause and train them again with `--retry-failed` (in Python, "
        "retry_failed=True), or let them count as +inf with `--set race.on_failure=count`"
    )


def _workload(experiment: Experiment, workload: Any) -> Any:
    from raysearch.workloads.function import Function

    section = experiment.workload
    if isinstance(section, str) or section.get("name") != "function":
        return workload
    if workload is None and "." in str(section.get("fn")):  # where to import it from
        return None
    if workload is None:
        raise ExperimentError(
            f"this search trains the Python function {section.get('fn')!r}, which no file can name: go on from Python "
            "with `raysearch.resume(run_dir, workload=that_function)`"
        )
    return workload if hasattr(workload, "prepare") else Function(workload)


def _check_changes(before: Experiment, after: Experiment) -> None:
    for name in Experiment.model_fields:
        if name not in _CHANGEABLE and getattr(before, name) != getattr(after, name):
            raise ExperimentError(
                f"{name!r} cannot change when a search goes on: its instances would not be comparable. Changeable: "
                f"{', '.join(_CHANGEABLE)}. Start another search instead"
            )


def go_on(race: Race, propose: Propose, *, retry_failed: bool, rule_changed: bool) -> None:
    """Let a race that was replayed go on: what was in flight is asked for again, and what failed, if it is wanted.

    The rule decides anew if it changed; the sampler may add configurations if the race had ended.
    """
    race.requeue_running()
    if retry_failed:
        race.retry_failed()
    known = race.state.pool.rows
    if not known:  # broken off before the sampler spoke: nothing to decide anew
        return
    more = [c for c in propose(race.state.pool.outcomes()) if c.id not in known] if race.state.final else []
    if rule_changed or more:
        race.reopen(whole_pool=rule_changed)
