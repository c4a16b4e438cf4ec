"""A search as a study of Optuna, for those who look at it or go on with it there: one configuration is one trial."""

from __future__ import annotations

import datetime
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from raysearch.errors import ExportError
from raysearch.samplers._distributions import distribution, within
from raysearch.samplers.search_space import Choice, Parameter, Range

_SEARCH, _EXTENT = "raysearch.search", "raysearch.extent"
"""Attributes of a study: which search it is of, and, once it is whole, how many events of its journal it holds."""


class State(StrEnum):
    """What a trial's state tells of a configuration."""

    COMPLETE = "COMPLETE"
    """Judged over as many instances as the winner."""
    PRUNED = "PRUNED"
    """Eliminated (where a rule judges by neighbours, even untrained), dropped, screened out, or left behind."""
    FAIL = "FAIL"
    """Every instance failed for good: nothing is known of it."""
    RUNNING = "RUNNING"
    """Still in the race."""
    WAITING = "WAITING"
    """Still in the race, and never trained."""


@dataclass(frozen=True)
class Trial:
    """One configuration: `values` by objective, +inf where diverged, `()` where there are none; `steps` by instance.

    Times are in seconds since 1970.
    """

    parameters: Mapping[str, Any]
    state: State
    values: tuple[float, ...] = ()
    steps: Mapping[int, float] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    began_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True)
class Source:
    """Which search is exported, how many events of it, with what is to be said of the whole."""

    search: str
    extent: int
    objectives: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def write(
    url: str,
    name: str,
    source: Source,
    trials: Sequence[Trial],
    parameters: Mapping[str, Parameter] | None,
    *,
    anew: bool = False,
    tell: Callable[[int], None] = lambda n_written: None,
) -> bool:
    """Write a study into a storage of Optuna; return False where the same is there already, and nothing is changed.

    `parameters` is the space; None takes the values that the trials have. `anew` writes an earlier state of the same
    search again, which an export that broke off always is. `tell` hears after each trial how many are written.

    Raises ExportError where the storage cannot be had, or its study of this name is another.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = _storage(url)
    known = covering(parameters, [trial.parameters for trial in trials])
    frozen = [_frozen(trial, known) for trial in trials]
    try:
        if not _is_free(storage, name, source, anew):
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study = optuna.create_study(
                storage=storage, study_name=name, directions=["minimize"] * len(source.objectives)
            )
            study.set_metric_names(list(source.objectives))
        study.set_user_attr(_SEARCH, source.search)
        for key, value in source.attributes.items():
            study.set_user_attr(key, value)
        for n_written, trial in enumerate(frozen, start=1):
            study.add_trial(trial)
            tell(n_written)
        study.set_user_attr(_EXTENT, source.extent)  # at the end: it says that the study is whole
    except ExportError:
        raise
    except Exception as error:  # whatever the database's driver raises
        raise ExportError(f"cannot write the study {name!r} into {_shown(url)}: {_first_line(error)}") from error
    return True


def covering(
    parameters: Mapping[str, Parameter] | None, configurations: Iterable[Mapping[str, Any]]
) -> dict[str, Parameter]:
    """Return what parameters may be, widened where configurations have values beyond it.

    Of a parameter that nothing is known of, only its values tell: numbers are a range, all else is a choice.
    """
    values: dict[str, dict[str, Any]] = {}
    for configuration in configurations:
        for name, value in configuration.items():
            values.setdefault(name, {})[repr(value)] = value
    known = parameters or {}
    return {name: _covering(known.get(name), list(own.values())) for name, own in values.items()}


def _covering(parameter: Parameter | None, values: list[Any]) -> Parameter:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    if isinstance(parameter, Choice):
        known = {repr(one) for one in parameter.values}
        return replace(parameter, values=(*parameter.values, *(one for one in values if repr(one) not in known)))
    if not numbers or (parameter is None and len(values) == 1):
        return Choice(tuple(values))
    whole = all(isinstance(one, int) for one in values)
    if parameter is None:
        return Range(min(values), max(values), integer=whole)
    if all(_holds(parameter, one) for one in values):
        return parameter
    low, high = min(parameter.low, *values), max(parameter.high, *values)
    return Range(low, high, parameter.log and low > 0, parameter.integer and whole)


def _holds(parameter: Range, value: float) -> bool:
    steps = (value - parameter.low) / (parameter.step or 1)
    on_step = parameter.step is None or math.isclose(steps, round(steps), abs_tol=1e-6)
    return on_step and parameter.low <= within(parameter, value) <= parameter.high


def _storage(url: str) -> BaseStorage:
    if "://" not in url:
        raise ExportError(f"{url!r} is no address of a storage of Optuna: write e.g. sqlite:///study.db")
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # of SQLAlchemy, of a database's driver, or of Optuna where a schema is too old
        raise ExportError(
            f"cannot open the storage {_shown(url)}: {_first_line(error)}. Write e.g. sqlite:///study.db, which is "
            "made in a folder that exists, or sqlite:////absolute/path.db"
        ) from error


def _is_free(storage: BaseStorage, name: str, source: Source, anew: bool) -> bool:
    """Return whether a study of this name is to be written, having made room for it; raises ExportError."""
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return True
    told = storage.get_study_user_attrs(study_id)
    if told.get(_SEARCH) != source.search:
        raise ExportError(
            f"there is a study {name!r} already, and it is not of this search: name another with `--study`"
        )
    if told.get(_EXTENT) == source.extent:
        return False
    if _EXTENT in told and not anew:
        raise ExportError(
            f"the study {name!r} holds an earlier state of this search: `--replace` writes it anew, with what was "
            "added to it there lost; `--study` names another"
        )
    storage.delete_study(study_id)
    return True


def _frozen(trial: Trial, parameters: Mapping[str, Parameter]) -> FrozenTrial:
    own = {name: parameters[name] for name in trial.parameters}
    finished = TrialState[trial.state].is_finished()
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState[trial.state],
        value=None,
        values=list(trial.values) or None,
        params={name: _encoded(parameter, trial.parameters[name]) for name, parameter in own.items()},
        distributions={name: distribution(parameter, _categories) for name, parameter in own.items()},
        intermediate_values=dict(trial.steps),
        user_attrs=dict(trial.attributes),
        system_attrs={},
        datetime_start=None if trial.state is State.WAITING else _moment(trial.began_s),
        datetime_complete=_moment(trial.ended_s) if finished else None,
    )


def _moment(time_s: float | None) -> datetime.datetime:
    """Return a time as Optuna keeps it: the local one, without saying so."""
    return datetime.datetime.fromtimestamp(time_s or 0.0)


def _categories(choice: Choice) -> list[Any]:
    """Return the values of a choice, as JSON where Optuna takes no such values, or could not tell them apart."""
    values = list(choice.values)
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in values)
    if plain and len(set(values)) == len(values):
        return values
    return [json.dumps(value, sort_keys=True) for value in values]


def _encoded(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, Choice):
        return _categories(parameter)[[repr(one) for one in parameter.values].index(repr(value))]
    return int(value) if parameter.integer else within(parameter, float(value))


def _shown(url: str) -> str:
    """Return an address without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
