"""Functions of the user that an experiment file names by where they are imported from."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from raysearch.errors import ExperimentError


def function(where: str, given: Any) -> Callable[..., Any]:
    """Return a function, imported where it is named, as `my_package.build`; `where` is the setting that names it.

    Raises ExperimentError with what stands in the way.
    """
    if callable(given):
        return given  # type: ignore[no-any-return]
    place, _, attribute = str(given).rpartition(".")
    if not isinstance(given, str) or not place:
        raise ExperimentError(f"{where} must be a function, or where to import it, package.function; got {given!r}")
    try:
        found = getattr(importlib.import_module(place), attribute)
    except (ImportError, AttributeError) as error:
        raise ExperimentError(
            f"{where} = {given!r} cannot be imported: {error}. Install it, or put its folder on PYTHONPATH"
        ) from error
    if not callable(found):
        raise ExperimentError(f"{where} = {given!r} is {found!r:.80}, no function")
    return found  # type: ignore[no-any-return]


def misfit(given: Callable[..., Any]) -> tuple[inspect.Signature, TypeError] | None:
    """Return the signature of a function that cannot be called with two arguments, and why; None where it can.

    And where nobody can tell: some that are written in C say nothing, and a class is made by Tune's contract.
    """
    if inspect.isclass(given):
        return None
    try:
        signature = inspect.signature(given)
    except ValueError:
        return None
    try:
        signature.bind({}, 0)
    except TypeError as error:
        return signature, error
    return None
