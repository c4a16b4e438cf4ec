"""The clock of a search: whoever must know the time, or wait, takes one; tests give a simulated one."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What is read of a clock."""

    def time(self) -> float:
        """Return the seconds since 1970; it may jump, both ways."""

    def monotonic(self) -> float:
        """Return seconds that never go back, from any start."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


CLOCK: Clock = time
"""This machine's."""
