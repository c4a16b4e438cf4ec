"""What earlier searches teach a new one: their journals are read once, when it begins, and kept in its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raysearch.criteria.objectives import RACED, label, parse
from raysearch.driver import finish
from raysearch.driver.replayed import race_of
from raysearch.errors import ExperimentError, RaysearchError
from raysearch.experiment.experiment import DEFINED_BY, Experiment, Section
from raysearch.race.state import State
from raysearch.records import InstanceResult, Phase, Status
from raysearch.rules import Rule
from raysearch.rules._abilities import Learns
from raysearch.samplers import Sampler
from raysearch.samplers.search_space import Space
from raysearch.samplers.space_function import FunctionSpace
from raysearch.samplers.taught import Teachable, not_of_space
from raysearch.storage.decoding import Entry
from raysearch.storage.events import Learn, Tell
from raysearch.storage.run_directory import RunDirectory


def learn(
    experiment: Experiment, workload: Any, space: Space | FunctionSpace, sampler: Sampler, rule: Rule
) -> tuple[Learn, ...]:
    """Return what the searches in `experiment.learn_from` teach this one.

    Raises ExperimentError, naming the directory, where there is no finished search of the same workload, parameters and
    judged quantity, or where nothing of it would be of any use.
    """
    found: list[Learn] = []
    for given in experiment.learn_from:
        try:
            found.append(_taught_by(Path(given), experiment, workload, space))
            _require_new(found)
            _require_use(found[-1], sampler, rule, experiment)
        except RaysearchError as error:
            raise ExperimentError(f"learn_from, {given}: {error}") from error
    return tuple(found)


def learnt_of(history: Sequence[Entry]) -> tuple[Learn, ...]:
    """Return what a search was taught when it began, by its own journal."""
    return tuple(event for _, _, event in history if isinstance(event, Learn))


def _taught_by(path: Path, experiment: Experiment, workload: Any, space: Space | FunctionSpace) -> Learn:
    race, earlier, history = race_of(path)
    if not race.done:
        raise ExperimentError(f"this search has not ended: `raysearch resume {path}` ends it")
    _require_comparable(earlier, experiment)
    _require_parameters(earlier, experiment, race.state, space)
    results = _results(history, race.state)
    if not results:
        raise ExperimentError("none of its instances was trained to an end: there is nothing to learn")
    reason = "" if (alike := _is_alike(earlier, experiment, workload)) else _why_unlike(earlier)
    reason = reason or _why_not_counted(earlier, experiment, results)
    ids = {one.key.configuration_id for one in results}
    state = race.state
    return Learn(
        run=str(path.absolute()),
        name=earlier.name,
        seed=earlier.seed,
        digest=hashlib.sha256(RunDirectory.open(path).journal.read_bytes()).hexdigest(),
        alike=alike,
        counts=not reason,
        reason=reason,
        configurations=tuple(one for one in state.pool.configurations if one.id in ids),
        results=results,
        survivors=tuple(id_ for id_ in map(state.pool.id, state.survivors.tolist()) if id_ in ids),
    )


def _results(history: Sequence[Entry], state: State) -> tuple[InstanceResult, ...]:
    """Return the race's results that say something of their configuration, with loss and metrics only.

    A machine's failure says nothing; what was taken back and told again counts as it was told last.
    """
    told = {event.key: event.result for _, _, event in history if isinstance(event, Tell) and event.phase is Phase.RACE}
    rows, index = state.pool.rows, state.seeds.index
    return tuple(
        InstanceResult.of(key, one.loss, metrics=dict(one.metrics))
        for key, one in told.items()
        if one.status is not Status.FAILED and state.pool.finished(rows[key.configuration_id], index(key.seed)[1])
    )


def _require_comparable(earlier: Experiment, experiment: Experiment) -> None:
    theirs, ours = _workload_of(earlier), _workload_of(experiment)
    if theirs != ours:
        raise ExperimentError(f"it trained the workload {theirs}, this search trains {ours}: name one of the same")
    before, now = parse(earlier.criterion), parse(experiment.criterion)
    if before.metric != now.metric:
        raise ExperimentError(
            f"it judged {label(earlier.criterion)}, this search judges {label(experiment.criterion)}: "
            f"its numbers are no {now.metric or 'losses'}. Name one that judged the same quantity"
        )


def _workload_of(experiment: Experiment) -> str:
    """Return a workload by name; a Python function by its own."""
    section = {"name": experiment.workload} if isinstance(experiment.workload, str) else experiment.workload
    return f"function {section.get('fn')}" if section["name"] == "function" else str(section["name"])


def _require_parameters(
    earlier: Experiment, experiment: Experiment, state: State, space: Space | FunctionSpace
) -> None:
    """Raise ExperimentError where the two searches do not have the same parameters; their values may differ."""
    ours, theirs = experiment.space, earlier.space
    if DEFINED_BY not in ours and DEFINED_BY not in theirs:
        others = sorted(set(ours) ^ set(theirs))
        if others:
            raise ExperimentError(
                f"it has other parameters: {', '.join(theirs)}, this search has {', '.join(ours)}. Not in both: "
                f"{', '.join(others)}"
            )
    elif all(not_of_space(space, one) for one in state.pool.configurations):
        reason = not_of_space(space, state.pool.configurations[0])
        raise ExperimentError(f"none of its configurations is of this space; of the first, {reason}")


def _is_alike(earlier: Experiment, experiment: Experiment, workload: Any) -> bool:
    """Return whether the workload has the same settings; of a function nobody can know what it did then."""
    if _workload_of(experiment).startswith("function "):
        return False
    return bool(earlier.load("workload") == workload)


def _why_unlike(earlier: Experiment) -> str:
    if _workload_of(earlier).startswith("function "):
        return "what a Python function did then, nobody can know"
    return "its workload had other settings"


def _why_not_counted(earlier: Experiment, experiment: Experiment, results: Sequence[InstanceResult]) -> str:
    """Return why the instances of an alike workload do not count here; nothing where they do."""
    if earlier.seed != experiment.seed:
        return f"its seed is {earlier.seed}, here it is {experiment.seed}: with `seed: {earlier.seed}` they would"
    if earlier.measures != experiment.measures or _judged(earlier) != _judged(experiment):
        return "its instances were measured otherwise"
    needed = [one.metric for one in finish.objectives_of(experiment) if one.metric not in (None, RACED)]
    lacking = [name for name in needed if any(name not in one.metrics for one in results)]
    return f"they do not tell {lacking[0]}" if lacking else ""


def _judged(experiment: Experiment) -> list[Section]:
    """Return what every instance is measured with beside its loss, for the sake of a criterion."""
    sections = [experiment.criterion, *getattr(experiment.load("sampler"), "objectives", ())]
    return [one["of"] for one in sections if isinstance(one, dict) and "of" in one]


def _require_new(found: Sequence[Learn]) -> None:
    if found[-1].digest in {one.digest for one in found[:-1]}:
        raise ExperimentError("it is there twice: leave one out")


def _require_use(event: Learn, sampler: Sampler, rule: Rule, experiment: Experiment) -> None:
    if event.counts or isinstance(rule, Learns) or isinstance(sampler, Teachable):
        return
    raise ExperimentError(
        f"nothing of it is of use here: its instances do not count ({event.reason}), and neither the sampler "
        f"{_name(experiment.sampler)} nor the rule {_name(experiment.rule)} learns. The rule surrogate and the sampler "
        "tpe do"
    )


def _name(section: Section) -> str:
    return section if isinstance(section, str) else str(section["name"])
