"""Optuna's distributions of the parameters of a search space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from raysearch.samplers.search_space import Choice, Parameter, Range


def distribution(parameter: Parameter, categories: Callable[[Choice], Sequence[Any]]) -> BaseDistribution:
    """Return what Optuna draws a parameter from; `categories` gives the values of a choice in a form that it takes."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(categories(parameter))
    if parameter.integer:
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(highest(parameter)), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, highest(parameter), log=parameter.log, step=parameter.step)


def highest(parameter: Range) -> float:
    """Return the last value that the steps of a range reach: Optuna warns of a bound beyond it."""
    if parameter.step is None:
        return parameter.high
    return float(Decimal(str(parameter.low)) + (parameter.n_values - 1) * Decimal(str(parameter.step)))


def within(parameter: Range, value: float) -> float:
    """Return a value that twelve digits may have put beside a bound such as 1/3, on the bound."""
    bounded = min(max(value, parameter.low), highest(parameter))
    return float(bounded) if math.isclose(bounded, value, rel_tol=1e-9) else value
