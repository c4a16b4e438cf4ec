"""Tracking servers that answer badly: fuzz_mlflow.py, of which fuzz.py carries out many, says how."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import fuzz_mlflow
import pytest
from fuzz import within

from raysearch.errors import TrackingError

pytestmark = pytest.mark.mlflow


class Endless(fuzz_mlflow.Server):
    """Names a further page after each page, always the same."""

    def __init__(self, recorded: list[list[Any]], g: random.Random) -> None:
        super().__init__(recorded, g)
        self.at, self.n, self.kind = 0, 10**6, 3


def test_pages_without_end_end_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_mlflow, "Server", Endless)
    monkeypatch.setattr(fuzz_mlflow, "PARTS", ("again",))
    with within(30.0), pytest.raises(TrackingError):
        fuzz_mlflow.Answers(tmp_path).answer(random.Random(0))


def test_what_is_undamaged_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sound(fuzz_mlflow.Server):
        def __init__(self, recorded: list[list[Any]], g: random.Random) -> None:
            super().__init__(recorded, g)
            self.n = 0

    monkeypatch.setattr(fuzz_mlflow, "Server", Sound)
    answers = fuzz_mlflow.Answers(tmp_path)
    for seed in range(8):
        answers.answer(random.Random(seed))
