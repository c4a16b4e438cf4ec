"""A search space defined by running a function: `space(trial)` with Optuna's `suggest_...` calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from raysearch.errors import ExperimentError
from raysearch.json_values import as_json
from raysearch.records import Configuration
from raysearch.samplers.search_space import Choice, Constraint, Range, bound, check_name

Draw = Callable[[str, Choice | Range], Any]
"""Chooses the value of a parameter, by its name and what it may be."""


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
        return self.ask(lambda name, parameter: parameter.sample(generator))

    def ask(self, draw: Draw) -> dict[str, Any]:
        """Run the function, let `draw` answer it and return the parameters, as JSON holds them.

        Raises ExperimentError for a name, a bound or a category that no file of a space could hold either.
        """
        trial = _Trial(draw)
        self.function(trial)
        return trial.parameters


class _Trial:
    """Passes on what a space function asks for, checked, and keeps the answers; asked again, it answers the same."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._answers: dict[str, Any] = {}
        self.parameters: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        answer: float = self._answer(name, lambda: _range(low, high, log, step, integer=False), float)
        return answer

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        width = None if log and step == 1 else step  # Optuna's default, which says nothing
        answer: int = self._answer(name, lambda: _range(low, high, log, width, integer=True), int)
        return answer

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        values = list(choices)
        texts: list[str] = []

        def choice() -> Choice:
            if not values:
                raise ExperimentError("there is nothing to choose from")
            plain = tuple(as_json(value) for value in values)
            texts[:] = [json.dumps(value, sort_keys=True) for value in plain]
            return Choice(plain)

        # the function gets its own value back, so that it may compare it with a tuple
        return self._answer(name, choice, lambda value: values[texts.index(json.dumps(value, sort_keys=True))])

    def _answer(self, name: str, ask: Callable[[], Choice | Range], own: Callable[[Any], Any]) -> Any:
        if name not in self._answers:
            try:
                check_name(name)
                value = self._draw(name, ask())
            except ExperimentError as error:
                raise ExperimentError(f"space function, parameter {name!r}: {error}") from error
            self._answers[name] = own(value)
            self.parameters[name] = value
        return self._answers[name]


def _range(low: Any, high: Any, log: bool, step: Any, *, integer: bool) -> Range:
    lowest, highest = bound("low", low), bound("high", high)
    width = None if step is None else bound("step", step)
    numbers = [number for number in (lowest, highest, width) if number is not None]
    if integer and any(number != int(number) for number in numbers):
        raise ExperimentError(f"suggest_int needs whole numbers, got low {low}, high {high}, step {step}")
    if lowest > highest:
        raise ExperimentError(f"`low` must not be above `high`, got {low} and {high}")
    if log and (lowest <= 0 or width is not None):
        raise ExperimentError(f"a log range needs `low` above 0 and no `step`, got low {low}, step {step}")
    if width is not None and width <= 0:
        raise ExperimentError(f"`step` must be positive, got {step}")
    if integer:
        return Range(int(lowest), int(highest), log, True, None if width is None else int(width))
    return Range(float(lowest), float(highest), log, False, width)
