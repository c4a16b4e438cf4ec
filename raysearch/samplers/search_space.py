"""The search space: a section of an experiment file -> typed parameters; enumeration, sampling, constraints.

A parameter is a list of values (a choice) or a range `{low, high, log, type, step}`. `when` makes it conditional:
`{choice: [...], when: {n_layers: [2, 3]}}` exists only where `n_layers` is 2 or 3.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raysearch.errors import ExperimentError, unknown
from raysearch.json_values import as_json
from raysearch.records import Configuration

Constraint = Callable[[Mapping[str, Any]], float]
_RANGE_KEYS = ("low", "high", "log", "type", "step", "when")
_CHOICE_KEYS = ("choice", "when")
_RESERVED = ("seed", "raysearch_block")
"""Names that raysearch hands to a trial beside its parameters."""
_LARGEST_GRID = 2_000_000


@dataclass(frozen=True)
class Choice:
    """One of `values`, each equally likely."""

    values: tuple[Any, ...]
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def grid(self) -> tuple[Any, ...]:
        """Return all values."""
        return self.values

    def sample(self, generator: np.random.Generator) -> Any:
        """Return one value at random."""
        return self.values[int(generator.integers(len(self.values)))]


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; `log`: uniform in its logarithm; `step` makes it discrete."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    step: float | None = None
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def grid(self) -> tuple[Any, ...]:
        """Return all values in order; raises ExperimentError for a continuous range."""
        if self.step is None and not self.integer:
            raise ExperimentError(
                f"the range {self.low} to {self.high} has no step, so a grid cannot enumerate it: give it a `step`, "
                "list its values, or use another sampler (random, tpe)"
            )
        if self.n_values > _LARGEST_GRID:
            raise ExperimentError(
                f"the range {self.low} to {self.high} has {self.n_values} values: too many for a grid"
            )
        return tuple(self._value(i) for i in range(self.n_values))

    def sample(self, generator: np.random.Generator) -> Any:
        """Return one value at random."""
        if self.step is not None or (self.integer and not self.log):
            return self._value(int(generator.integers(self.n_values)))
        if not self.log:
            return float(generator.uniform(self.low, self.high))
        if self.integer:  # each integer owns the interval around it, so that the ends are as likely as they should be
            drawn = math.exp(generator.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
            return int(min(max(round(drawn), self.low), self.high))
        drawn = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return float(min(max(drawn, self.low), self.high))

    @property
    def n_values(self) -> int:
        """How many values a range with a step, or of whole numbers, has."""
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def _value(self, index: int) -> Any:
        value = self.low + index * (self.step or 1)
        return round(value) if self.integer else float(f"{value:.12g}")


Parameter = Choice | Range


@dataclass(frozen=True)
class Space:
    """Named parameters, in the order of the file, with the upper bounds of named functions of the workload."""

    parameters: Mapping[str, Parameter]
    constraints: tuple[tuple[str, Constraint, float], ...] = ()

    def valid(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether every constrained quantity is within its bound."""
        return all(function(parameters) <= bound for _, function, bound in self.constraints)

    def enumerate(self) -> Iterator[Configuration]:
        """Yield every valid configuration of the grid, first parameter slowest, each once.

        Raises ExperimentError for a continuous range, and for a grid that no search could finish.
        """
        names = list(self.parameters)
        grids = [self._grid(name) for name in names]
        size = math.prod(len(grid) for grid in grids)
        if size > _LARGEST_GRID:
            raise ExperimentError(
                f"the grid of this space has {size} combinations, more than {_LARGEST_GRID}: use another sampler, "
                "e.g. `sampler: {name: random, n_configurations: 1000}`, or fewer values"
            )
        seen: set[str] = set()
        for values in itertools.product(*grids):
            parameters = self.active(dict(zip(names, values, strict=True)))
            configuration = Configuration.of(parameters)
            if configuration.id not in seen and self.valid(parameters):
                seen.add(configuration.id)
                yield configuration

    def sample(self, generator: np.random.Generator) -> dict[str, Any]:
        """Return parameters drawn at random, which may break a constraint."""
        return self.active({name: parameter.sample(generator) for name, parameter in self.parameters.items()})

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those values whose conditions hold, in the order of the space."""
        kept: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if all(other in kept and kept[other] in allowed for other, allowed in parameter.when.items()):
                kept[name] = values[name]
        return kept

    def _grid(self, name: str) -> tuple[Any, ...]:
        try:
            return self.parameters[name].grid()
        except ExperimentError as error:
            raise ExperimentError(f"space, parameter {name!r}: {error}") from error


def parse(section: Mapping[str, Any], constraints: tuple[tuple[str, Constraint, float], ...] = ()) -> Space:
    """Return the space that a section of an experiment file describes; an ExperimentError names the parameter."""
    if not section:
        raise ExperimentError("the space has no parameters; give at least one, e.g. `lr: [0.001, 0.01]`")
    parameters: dict[str, Parameter] = {}
    for name, value in section.items():
        try:
            check_name(name)
            parameter = _parameter(value)
            _check_when(parameter.when, parameters)
        except ExperimentError as error:
            raise ExperimentError(f"space, parameter {name!r}: {error}") from error
        parameters[name] = parameter
    return Space(parameters, constraints)


def check_name(name: Any) -> None:
    """Raise ExperimentError for a name that a parameter must not have, in whatever kind of space."""
    if not isinstance(name, str) or not re.fullmatch(r"[^\W\d][\w.-]{0,99}", name):
        raise ExperimentError(
            "a name consists of letters, digits, '_', '-' and '.', starts with a letter or '_', and has at most 100 "
            "characters (yes, no, on and off are true and false in YAML: quote them)"
        )
    if name in _RESERVED:
        raise ExperimentError(f"the names {' and '.join(_RESERVED)} are raysearch's own: choose another")


def _check_when(when: Mapping[str, tuple[Any, ...]], above: Mapping[str, Parameter]) -> None:
    for other, values in when.items():
        if other not in above:
            listed = ", ".join(above) or "none"
            raise ExperimentError(
                f"`when` refers to {other!r}, which must be a parameter above it. Above it are: {listed}"
            )
        parameter = above[other]
        for value in values:
            if isinstance(parameter, Choice) and value not in parameter.values:
                raise ExperimentError(
                    f"`when` waits for {other} = {value!r}, which is none of {list(parameter.values)}"
                )


def _parameter(value: Any) -> Parameter:
    if isinstance(value, list | tuple):
        return Choice(_values(value))
    if isinstance(value, Mapping):
        return _choice(value) if "choice" in value else _range(value)
    if isinstance(value, bool | int | float | str | np.generic):
        return Choice(_values([value]))
    raise ExperimentError(f"expected a list of values, a range {{low, high}} or one value, got {value!r}")


def _choice(section: Mapping[str, Any]) -> Choice:
    _refuse_unknown(section, _CHOICE_KEYS)
    if not isinstance(section["choice"], list | tuple):
        raise ExperimentError(f"`choice` must be a list, got {section['choice']!r}")
    return Choice(_values(section["choice"]), _when(section.get("when")))


def _values(values: Sequence[Any]) -> tuple[Any, ...]:
    if not values:
        raise ExperimentError("the list of values is empty")
    plain = tuple(as_json(value) for value in values)
    if len({repr(value) for value in plain}) < len(plain):
        raise ExperimentError(f"a value appears twice in {list(values)}")
    return plain


def _range(section: Mapping[str, Any]) -> Range:
    _refuse_unknown(section, _RANGE_KEYS)
    low, high = bound("low", section.get("low")), bound("high", section.get("high"))
    step = None if section.get("step") is None else bound("step", section["step"])
    whole = all(number is None or isinstance(number, int) for number in (low, high, step))
    kind = section.get("type", "int" if whole else "float")
    if kind not in ("int", "float"):
        raise unknown("type of a range", kind, ("int", "float"))
    if kind == "int" and not whole:
        raise ExperimentError(f"a range of type int needs whole numbers, got low {low}, high {high}, step {step}")
    log = section.get("log", False)
    if not isinstance(log, bool):
        raise ExperimentError(f"`log` must be true or false, got {log!r}")
    if not low < high:
        raise ExperimentError(f"`low` must be below `high`, got {low} and {high}")
    if log and (low <= 0 or step is not None):
        raise ExperimentError(f"a log range needs `low` above 0 and no `step`, got low {low}, step {step}")
    if step is not None and step <= 0:
        raise ExperimentError(f"`step` must be positive, got {step}")
    return Range(low, high, log, kind == "int", step, _when(section.get("when")))


def bound(name: str, value: Any) -> int | float:
    """Return a bound of a range as a number of Python; raises ExperimentError for what is none."""
    number = value if isinstance(value, float) and not math.isfinite(value) else as_json(value)
    # the limit keeps whole numbers exact as floats
    if isinstance(number, bool) or not isinstance(number, int | float) or not -(2.0**53) <= number <= 2.0**53:
        raise ExperimentError(f"`{name}` must be a finite number, got {value!r:.40}")
    return number


def _when(section: Any) -> dict[str, tuple[Any, ...]]:
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise ExperimentError(f"`when` must map parameters to values, e.g. {{n_layers: [2, 3]}}, got {section!r}")
    plain = as_json(section)
    return {name: tuple(value) if isinstance(value, list) else (value,) for name, value in plain.items()}


def _refuse_unknown(section: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in section:
        if key not in known:
            raise unknown("key of a parameter", key, known)
