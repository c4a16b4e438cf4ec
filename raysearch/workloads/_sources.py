"""The two sources of randomness of an instance, and which of them differ from seed to seed."""

from __future__ import annotations

from typing import Literal

import numpy as np

Vary = Literal["weights", "sample", "both"]
_WEIGHTS, _SAMPLE, _SAME = 1, 2, 0


def sources(seed: int, vary: str) -> tuple[int, np.random.Generator]:
    """Return the torch seed (initial weights, order of batches, dropout) and the generator of the training sample.

    Both depend on `seed` alone, never on the configuration, so instances of different configurations are paired. A
    source that does not vary is the same for every seed.
    """
    weights = np.random.SeedSequence([_WEIGHTS, seed] if vary != "sample" else [_WEIGHTS, _SAME, _SAME])
    sample = np.random.SeedSequence([_SAMPLE, seed] if vary != "weights" else [_SAMPLE, _SAME, _SAME])
    return int(weights.generate_state(1, np.uint64)[0] >> np.uint64(1)), np.random.default_rng(sample)
