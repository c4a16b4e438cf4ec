"""The search space: a section of an experiment file -> typed parameters; enumeration, sampling, constraints.

A parameter is a list of values (a choice) or a range `{low, high, log, type, step}`. `when` makes it conditional:
`{choice: [...], when: {n_layers: [2, 3]}}` exists only where `n_layers` is 2 or 3.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raysearch.errors import ExperimentError, unknown
from raysearch.records import Configuration

Constraint = Callable[[Mapping[str, Any]], float]
_RANGE_KEYS = ("low", "high", "log", "type", "step", "when")
_CHOICE_KEYS = ("choice", "when")


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
        step = self.step or 1
        n = math.floor((self.high - self.low) / step + 1e-9) + 1
        values = (self.low + i * step for i in range(n))
        return tuple(round(v) for v in values) if self.integer else tuple(float(f"{v:.12g}") for v in values)

    def sample(self, generator: np.random.Generator) -> Any:
        """Return one value at random."""
        if self.step is not None or (self.integer and not self.log):
            values = self.grid()
            return values[int(generator.integers(len(values)))]
        if not self.log:
            return float(generator.uniform(self.low, self.high))
        if self.integer:  # each integer owns the interval around it, so that the ends are as likely as they should be
            drawn = math.exp(generator.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
            return int(min(max(round(drawn), self.low), self.high))
        drawn = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return float(min(max(drawn, self.low), self.high))


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
        """Yield every valid configuration of the grid, first parameter slowest, each once."""
        names = list(self.parameters)
        seen: set[str] = set()
        for values in itertools.product(*(self._grid(name) for name in names)):
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
            parameters[str(name)] = _parameter(value)
        except ExperimentError as error:
            raise ExperimentError(f"space, parameter {name!r}: {error}") from error
    for name, parameter in parameters.items():
        earlier = list(parameters)[: list(parameters).index(name)]
        for other in parameter.when:
            if other not in earlier:
                raise ExperimentError(
                    f"space, parameter {name!r}: `when` refers to {other!r}, which must be a parameter above it. "
                    f"Above it are: {', '.join(earlier) or 'none'}"
                )
    return Space(parameters, constraints)


def _parameter(value: Any) -> Parameter:
    if isinstance(value, list):
        return Choice(_values(value))
    if isinstance(value, Mapping):
        return _choice(value) if "choice" in value else _range(value)
    if isinstance(value, bool | int | float | str):
        return Choice((value,))
    raise ExperimentError(f"expected a list of values, a range {{low, high}} or one value, got {value!r}")


def _choice(section: Mapping[str, Any]) -> Choice:
    _refuse_unknown(section, _CHOICE_KEYS)
    if not isinstance(section["choice"], list):
        raise ExperimentError(f"`choice` must be a list, got {section['choice']!r}")
    return Choice(_values(section["choice"]), _when(section.get("when")))


def _values(values: list[Any]) -> tuple[Any, ...]:
    if not values:
        raise ExperimentError("the list of values is empty")
    if len({repr(value) for value in values}) < len(values):
        raise ExperimentError(f"a value appears twice in {values}")
    for value in values:
        if isinstance(value, float) and not math.isfinite(value):
            raise ExperimentError(f"{value} is not a finite number")
    return tuple(values)


def _range(section: Mapping[str, Any]) -> Range:
    _refuse_unknown(section, _RANGE_KEYS)
    low, high, step = section.get("low"), section.get("high"), section.get("step")
    for name, bound in (("low", low), ("high", high), ("step", step)):
        if bound is None and name == "step":
            continue
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
            raise ExperimentError(
                f"`{name}` must be a finite number, got {bound!r} (1e-4 is text in YAML: write 1.0e-4)"
            )
    kind = section.get("type", "int" if isinstance(low, int) and isinstance(high, int) else "float")
    if kind not in ("int", "float"):
        raise unknown("type of a range", kind, ("int", "float"))
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


def _when(section: Any) -> dict[str, tuple[Any, ...]]:
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise ExperimentError(f"`when` must map parameters to values, e.g. {{n_layers: [2, 3]}}, got {section!r}")
    return {str(name): tuple(value) if isinstance(value, list) else (value,) for name, value in section.items()}


def _refuse_unknown(section: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in section:
        if key not in known:
            raise unknown("key of a parameter", key, known)
