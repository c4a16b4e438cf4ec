"""Damaged journals, experiments, settings and MLflow answers: `make worlds` damages ten times as many by fuzz.py."""

from __future__ import annotations

import pytest
from fuzz import fuzz

N = 1_000


@pytest.mark.mlflow
def test_what_is_damaged_is_taken_or_refused_and_nothing_else() -> None:
    told = fuzz(N)
    assert told.total() == N
    for kind in ("journal", "experiment", "setting"):
        for how in ("taken", "refused"):
            assert told[f"{kind} {how}"] > 10, f"hardly any {kind} {how}"
    assert told["answer taken"] + told["answer refused"] > 0
