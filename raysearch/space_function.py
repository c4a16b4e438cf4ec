"""A search space defined by running a function: `space(trial)` with Optuna's `suggest_...` calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from raysearch.errors import ExperimentError
from raysearch.records import Configuration
from raysearch.space import Choice, Constraint, Range


class Trial(Protocol):
    """What a space function may ask: the part of Optuna's trial that names parameters."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number between two bounds, both included."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return a whole number between two bounds, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of several values."""
        ...


@dataclass(frozen=True)
class FunctionSpace:
    """A space whose parameters depend on each other, as the function says; it cannot be enumerated.

    The function is called with a trial and asks it for every parameter it wants; what it returns is ignored.
    """

    function: Callable[[Any], Any]
    constraints: tuple[tuple[str, Constraint, float], ...] = ()

    def valid(self, parameters: Mapping[str, Any]) -> bool:
        """Return whether every constrained quantity is within its bound."""
        return all(function(parameters) <= bound for _, function, bound in self.constraints)

    def enumerate(self) -> Iterator[Configuration]:
        """Raise ExperimentError: only calling the function shows its parameters."""
        raise ExperimentError("a space defined by a function cannot be enumerated: use the sampler random or tpe")

    def sample(self, generator: np.random.Generator) -> dict[str, Any]:
        """Return parameters drawn at random, which may break a constraint."""
        trial = _RandomTrial(generator)
        self.function(trial)
        return trial.parameters


class _RandomTrial:
    """Answers a space function with values drawn at random."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.parameters: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._draw(name, Range(low, high, log, False, step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._draw(name, Range(low, high, log, True, None if log else step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._draw(name, Choice(tuple(choices)))

    def _draw(self, name: str, parameter: Choice | Range) -> Any:
        if name not in self.parameters:
            if isinstance(parameter, Range) and not math.isfinite(parameter.high - parameter.low):
                raise ExperimentError(f"space function, parameter {name!r}: the bounds must be finite")
            self.parameters[name] = parameter.sample(self.generator)
        return self.parameters[name]
