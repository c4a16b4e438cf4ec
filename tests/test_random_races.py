"""Random races end, and end alike, whatever goes wrong in them: see random_races.py, which drives more of them."""

from __future__ import annotations

from random_races import run


def test_random_races_end_and_end_alike() -> None:
    told = sum((run(seed) for seed in range(1, 120)), start=run(0))
    for kind in ("compared", "retried", "other rule", "extended", "killed drivers"):
        assert told[kind] > 4, f"hardly any race of the kind {kind!r}"
