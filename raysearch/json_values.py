"""The door for values that a user gives: brought to what JSON gives back, so that no file ever changes their type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from raysearch.errors import ExperimentError

_EXACT = (str, int, float, bool, type(None))
_MOST_BITS = 14_000
"""Python refuses to write longer whole numbers as text."""


def as_json(value: Any) -> Any:
    """Return `value` as JSON would give it back: tuples as lists, numbers of NumPy as Python's, all containers anew.

    Raises ExperimentError, naming the offending value, for what JSON cannot hold: NaN, dates, sets, objects, keys that
    are no text, a list in itself.
    """
    try:
        return _plain(value)
    except RecursionError as error:
        raise ExperimentError(f"a {type(value).__name__} is nested too deeply, or holds itself") from error


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    plain = scalar(value)
    if isinstance(plain, str):
        holds = _is_unicode(plain)
    elif isinstance(plain, float):
        holds = math.isfinite(plain)
    else:
        holds = plain is None or (isinstance(plain, int) and plain.bit_length() <= _MOST_BITS)
    if not holds:
        remedy = ": give its `.tolist()`" if callable(getattr(value, "tolist", None)) else ""
        raise ExperimentError(
            f"{_shown(value)} ({type(value).__name__}) is no finite number, text, truth value, or list or mapping of "
            f"them{remedy}"
        )
    return plain


def scalar(value: Any) -> Any:
    """Return a number or text of a library, or of a subclass, as Python's own; anything else as it is."""
    if type(value) in _EXACT:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # not an enum's own
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if callable(getattr(value, "item", None)) and getattr(value, "ndim", None) == 0:
        item = value.item()
        return item if type(item) in _EXACT else value
    return value


def _key(key: Any) -> str:
    if not isinstance(key, str) or not _is_unicode(key):
        raise ExperimentError(f"the key {_shown(key)} ({type(key).__name__}) is no text: a mapping has text as keys")
    return str(scalar(key))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    """Return a short text of any object, also of one that has none."""
    try:
        return f"{value!r:.80}"
    except Exception:
        return f"an object of {type(value).__name__}"
