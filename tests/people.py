"""Somebody who asks something of a search while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raysearch.records import TrialRequest
from raysearch.storage.requests import Request, ask
from raysearch.tracking.silent import Silent


class Person(Silent):
    """Asks as soon as the first instance was handed out; to `drop` is its configuration."""

    def __init__(self, kind: Any, *, now: bool = False) -> None:
        self.kind, self.now, self.has_asked = kind, now, False

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        self.run_dir = run_dir

    def started(self, request: TrialRequest) -> None:
        if not self.has_asked:
            self.has_asked = True
            id_ = request.configuration.id if self.kind == "drop" else ""
            ask(self.run_dir, Request(self.kind, self.now, id_, "too large", "ada"))
