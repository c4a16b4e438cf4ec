"""Every error that raysearch raises on purpose: the fact, the offending value, the known choices, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def unknown(kind: str, name: object, known: Iterable[str], elsewhere: Iterable[str] = ()) -> UnknownNameError:
    """Return the error for an unknown `name` of a `kind`, naming the known choices and the closest one.

    `elsewhere` are the places where that very name is known: no spelling is guessed then.
    """
    choices, homes = sorted(known), " or ".join(elsewhere)
    close = [] if homes else difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    hint = f" It belongs to {homes}." if homes else f" Did you mean {close[0]!r}?" if close else ""
    listed = ", ".join(choices) if choices else "none"
    return UnknownNameError(f"unknown {kind} {str(name)!r}.{hint} Known: {listed}.")
