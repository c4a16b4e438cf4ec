"""Known configurations that take part from the start, as Optuna's `enqueue_trial`: checked against the space."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from raysearch.errors import ExperimentError, unknown
from raysearch.json_values import as_json
from raysearch.records import Configuration, Outcome
from raysearch.samplers import Propose
from raysearch.samplers.search_space import Choice, Parameter, Space
from raysearch.samplers.space_function import FunctionSpace


def with_included(
    propose: Propose, space: Space | FunctionSpace, given: Sequence[Mapping[str, Any]], n_configurations: int | None
) -> Propose:
    """Return a proposal whose first wave begins with the `given` configurations; `n_configurations` count them, too.

    Raises ExperimentError, naming its number from 1, for one that is not of the space, breaks a constraint or comes
    twice, and where there are more than the sampler proposes in all.
    """
    if not given:
        return propose
    known = _checked(space, given)
    if n_configurations is not None and len(known) > n_configurations:
        raise ExperimentError(
            f"include: {len(known)} configurations, but the sampler's n_configurations is {n_configurations}, which "
            "counts them: raise it, or include fewer"
        )
    ids = {configuration.id for configuration in known}

    def proposed(outcomes: Sequence[Outcome]) -> list[Configuration]:
        wave = list(propose(outcomes))
        if not outcomes:
            own = [configuration for configuration in wave if configuration.id not in ids]
            wave = [*known, *own][: max(len(wave), len(known))]
        return wave if n_configurations is None else wave[: max(n_configurations - len(outcomes), 0)]

    return proposed


def _checked(space: Space | FunctionSpace, given: Sequence[Mapping[str, Any]]) -> list[Configuration]:
    found: dict[str, Configuration] = {}
    for number, values in enumerate(given, start=1):
        try:
            configuration = Configuration.of(of_space(space, values))
            if not space.valid(configuration.parameters):
                bounds = ", ".join(f"{name} <= {bound:g}" for name, _, bound in space.constraints)
                raise ExperimentError(f"{dict(values)} breaks a constraint: {bounds}")
            if configuration.id in found:
                raise ExperimentError(f"{dict(values)} is there twice: leave one out")
        except ExperimentError as error:
            raise type(error)(f"include, configuration {number}: {error}") from error
        found[configuration.id] = configuration
    return list(found.values())


def of_space(space: Space | FunctionSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of a known configuration, in the order of the space and with its values.

    Raises ExperimentError for one that the space does not have, whatever its constraints.
    """
    wanted: list[str] = []

    def take(name: str, parameter: Parameter) -> Any:
        wanted.append(name)
        if name not in values:
            raise ExperimentError(f"the hyperparameter {name!r} is missing; given are {', '.join(values) or 'none'}")
        return _value(name, parameter, as_json(values[name]))

    if isinstance(space, FunctionSpace):
        taken = space.ask(take)
    else:
        taken = {}
        for name, parameter in space.parameters.items():
            if all(other in taken and taken[other] in allowed for other, allowed in parameter.when.items()):
                taken[name] = take(name, parameter)
            elif name in values:
                raise ExperimentError(
                    f"the hyperparameter {name!r} exists only when {dict(parameter.when)}: leave it out"
                )
    for name in values:
        if name not in taken:
            raise unknown("hyperparameter", name, wanted)
    return taken


def _value(name: str, parameter: Parameter, value: Any) -> Any:
    """Return a value as the space has it; raises ExperimentError for one outside of it."""
    if isinstance(parameter, Choice):
        texts = [json.dumps(one, sort_keys=True) for one in parameter.values]
        if (text := json.dumps(value, sort_keys=True)) in texts:
            return parameter.values[texts.index(text)]
        equal = [one for one in parameter.values if one == value and isinstance(one, bool) is isinstance(value, bool)]
        if equal:  # 1 where the space has 1.0
            return equal[0]
        raise ExperimentError(f"{name} = {value!r:.80} is none of {list(parameter.values)}")
    kind = "a whole number" if parameter.integer else "a number"
    by = "" if parameter.step is None else f" in steps of {parameter.step:g}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not parameter.low <= value <= parameter.high or (parameter.integer and value != int(value)):
        raise ExperimentError(f"{name} = {value!r:.80} is not {kind} from {parameter.low} to {parameter.high}{by}")
    if parameter.step is not None:
        index = round((value - parameter.low) / parameter.step)
        if abs(parameter.low + index * parameter.step - value) > 1e-9 * max(abs(value), parameter.step):
            raise ExperimentError(f"{name} = {value!r:.80} is not {kind} from {parameter.low} to {parameter.high}{by}")
    return int(value) if parameter.integer else float(value)
