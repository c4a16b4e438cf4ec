"""Damaged journals, experiment files and settings, ten thousand of them: fuzz.py, which does a million, says how."""

from __future__ import annotations

from fuzz import fuzz

N = 10_000


def test_what_is_damaged_is_taken_or_refused_and_nothing_else() -> None:
    told = fuzz(N)
    assert told.total() == N
    for kind in ("journal", "experiment", "setting"):
        for how in ("taken", "refused"):
            assert told[f"{kind} {how}"] > 100, f"hardly any {kind} {how}"
