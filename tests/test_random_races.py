"""Random races end, and end alike, whatever goes wrong in them: see random_races.py, which drives more of them."""

from __future__ import annotations

import pytest
from random_races import run


@pytest.mark.parametrize("first", range(0, 1500, 300))
def test_random_races_end_and_end_alike(first: int) -> None:
    told = sum((run(seed) for seed in range(first, first + 300)), start=run(first))
    for kind in ("compared", "retried", "other rule", "extended", "killed drivers"):
        assert told[kind] > 10, f"hardly any race of the kind {kind!r}"
