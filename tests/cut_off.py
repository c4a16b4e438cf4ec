"""A small real training that can be cut off after an epoch, as a lost worker is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysearch.records import Configuration, InstanceResult
from raysearch.training import loop as training
from raysearch.workloads.digits import Digits

PLAIN = {"hidden": [16], "optimizer": "AdamW", "lr": 0.01, "batch_size": 32}
DIGITS = Digits(epochs=6, n_train=200)
DATA = DIGITS.prepare()


class Report:
    """What an executor hands to a workload; breaks off after an epoch."""

    def __init__(self, folder: Path | None, last: int = 99, error: type[BaseException] = ConnectionError) -> None:
        self.checkpoints = None if folder is None else (str(folder), 0.0)
        self.last, self.error, self.epochs = last, error, list[int]()

    def __call__(self, epoch: int, loss: float) -> None:
        self.epochs.append(epoch)
        if epoch > self.last:
            raise self.error


def train(parameters: dict[str, Any], report: Report, workload: Digits = DIGITS) -> InstanceResult:
    return workload.train(Configuration.of(parameters), [7], report, DATA)[0]


def count_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every epoch that the torch loop really trains."""
    epochs: list[int] = []
    epoch = training._epoch
    monkeypatch.setattr(training, "_epoch", lambda *arguments: (epochs.append(1), epoch(*arguments))[1])
    return epochs
