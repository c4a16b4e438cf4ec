"""Criteria: which statistic of a configuration's losses steers the race. Lower is better.

Contract: a frozen dataclass whose fields are its parameters and
`__call__(losses: (..., n_instances) array) -> float or (...) array`. NaN = not run (ignored), +inf = diverged (counts).
A row without any value gives NaN. The result depends on the set of losses only, never on their order.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Criterion(Protocol):
    """A robust statistic of losses."""

    def __call__(self, losses: NDArray[np.float64], /) -> Any:
        """Return the statistic over the last axis."""
        ...
