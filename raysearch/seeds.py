"""Which instance has which seed, for every configuration the same."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from raysearch.records import Phase

_STEP = 0x9E3779B1  # odd, so that its multiples run through all 32-bit numbers before one comes back
_MASK = 0xFFFFFFFF
_INVERSE = pow(_STEP, -1, _MASK + 1)


class Seeds:
    """The seed of instance `i` of a phase: a 32-bit number, different for every (phase, i) of one search.

    32 bits, so that every library takes it. An affine sequence from a hashed start: the workload's generators hash the
    seed again, and no two instances can share one by accident.
    """

    def __init__(self, search_seed: int) -> None:
        if search_seed < 0:
            raise ValueError(f"seed must not be negative, got {search_seed}")
        self.search_seed = search_seed
        self._start = _start_of(search_seed)

    def seed(self, phase: Phase, index: int) -> int:
        """Return the seed of instance `index` (from 0) of a phase."""
        position = 2 * index + (phase is Phase.CONFIRMATION)
        return (self._start + position * _STEP) & _MASK

    def index(self, seed: int) -> tuple[Phase, int]:
        """Return the phase and the instance index that have this seed: the inverse of `seed`."""
        position = ((seed - self._start) * _INVERSE) & _MASK
        return (Phase.CONFIRMATION if position % 2 else Phase.RACE), position // 2


@lru_cache(maxsize=64)
def _start_of(search_seed: int) -> int:
    return int(np.random.SeedSequence(search_seed).generate_state(1)[0])
