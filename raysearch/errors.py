"""Every error that raysearch raises on purpose: the fact, the offending value, the known choices, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class RaysearchError(Exception):
    """Root of all errors that a user can mend; the command line prints its text without a traceback."""


class ExperimentError(RaysearchError, ValueError):
    """The experiment file, a search space or a setting is wrong."""


class UnknownNameError(ExperimentError):
    """A name that no plug-in, parameter or key carries."""


class JournalError(RaysearchError):
    """The journal is damaged, locked by another driver, or belongs to another search."""


class RunDirectoryError(RaysearchError):
    """The run directory holds another run, does not exist, or cannot be written."""


class TrackingError(RaysearchError):
    """The tracking server cannot be reached or refuses."""


class ResourceError(RaysearchError):
    """The cluster has not what the experiment asks for."""


class WorkloadError(RaysearchError):
    """A workload broke its contract: it returned no number, or one of its settings cannot work."""


class StuckError(RaysearchError):
    """A race waits although nothing runs, which would never end: a defect of its rule."""


class ExportError(RaysearchError):
    """What is exported has nowhere to go, or would take the place of something else."""


class StoppedError(RaysearchError):
    """A person ended the search, to be gone on with."""


def unknown(kind: str, name: object, known: Iterable[str], elsewhere: Iterable[str] = ()) -> UnknownNameError:
    """Return the error for an unknown `name` of a `kind`, naming the known choices and the closest one.

    `elsewhere` are the places where that very name is known: no spelling is guessed then.
    """
    choices, homes = sorted(known), " or ".join(elsewhere)
    close = [] if homes else difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    hint = f" It belongs to {homes}." if homes else f" Did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(choices) if choices else "none"
    return UnknownNameError(f"unknown {kind} {str(name)!r}.{hint} Known: {listed}.")


_IN_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "missing": "there",
    "greater_than_equal": "at least {ge}",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
}


def in_words(error: Mapping[str, Any]) -> str:
    """Return what a value that pydantic refuses must be, e.g. `at least 1`, from one of its `errors()`."""
    bounds = {
        key: int(bound) if bound == int(bound) else bound
        for key, bound in error.get("ctx", {}).items()
        if isinstance(bound, int | float)
    }
    said = _IN_WORDS.get(error["type"])
    return said.format(**bounds) if said else str(error["msg"]).removeprefix("Input should be ")
