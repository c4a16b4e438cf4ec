"""Waiting for a fact: it may take as long as a busy machine needs, and costs no more than it takes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")
PATIENCE_S = 480.0
"""Below the time after which pytest ends a test, so that the test says what it waited for."""


def wait_for(
    what: str,
    get: Callable[[], Value],
    timeout_s: float = PATIENCE_S,
    pause_s: float = 0.05,
    by: subprocess.Popen[Any] | None = None,
) -> Value:
    """Return what `get` returns once it is true; an exception counts as not yet.

    Raises TimeoutError, and RuntimeError as soon as the process `by` which it is to happen has ended without it.
    """
    last: object = None
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        ended = by is not None and by.poll() is not None  # before the look: what it did at its end counts
        try:
            if value := get():
                return value
            last = value
        except Exception as error:
            last = error
        if ended:
            assert by is not None
            said = by.stderr.read() if by.stderr else ""
            raise RuntimeError(f"the process ended with {by.returncode} before {what}; last: {last!r}\n{said}")
        time.sleep(pause_s)
    raise TimeoutError(f"waited {timeout_s:g} s for {what}; last: {last!r}")
