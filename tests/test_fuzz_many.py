"""Damaged journals, experiments, settings and MLflow answers, ten thousand: fuzz.py, which does a million, says how."""

from __future__ import annotations

import pytest
from fuzz import fuzz

N = 10_000


@pytest.mark.mlflow
def test_what_is_damaged_is_taken_or_refused_and_nothing_else() -> None:
    told = fuzz(N)
    assert told.total() == N
    for kind, least in (("journal", 100), ("experiment", 100), ("setting", 100), ("answer", 2)):
        for how in ("taken", "refused"):
            assert told[f"{kind} {how}"] > least, f"hardly any {kind} {how}"
