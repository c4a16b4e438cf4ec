"""A checkpoint serves the training that it was written by, and no other."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cut_off import DATA, DIGITS, PLAIN, Report, count_epochs, train

from raysearch.records import Configuration
from raysearch.training import fingerprint as training_fingerprint
from raysearch.workloads.digits import Digits


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return count_epochs(monkeypatch)


@dataclass(frozen=True)
class _Blurred(Digits):
    """Digits with a setting of its own that shapes the data: one that nobody told the checkpoints of."""

    contrast: float = 1.0

    def prepare(self) -> Any:
        data = super().prepare()
        return {name: values * self.contrast if "images" in name else values for name, values in data.items()}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DIGITS, Digits(epochs=6, n_train=300)),
        (DIGITS, Digits(epochs=6, n_train=200, split_seed=1)),
        (DIGITS, Digits(epochs=6, n_train=200, vary="weights")),
        (DIGITS, Digits(epochs=6, n_train=200, loss="error")),
        (DIGITS, Digits(epochs=6, n_train=200, n_validation=200)),
        (DIGITS, Digits(epochs=6, n_train=200, n_test=200)),
        (DIGITS, Digits(epochs=7, n_train=200)),
        (DIGITS, Digits(epochs=6, n_train=200, patience=6)),
        (DIGITS, _Blurred(epochs=6, n_train=200)),
        (_Blurred(epochs=6, n_train=200), _Blurred(epochs=6, n_train=200, contrast=0.5)),
    ],
    ids=["n_train", "split_seed", "vary", "loss", "n_validation", "n_test", "epochs", "patience", "class", "own field"],
)
def test_a_checkpoint_of_other_settings_is_passed_over(
    one: Digits, other: Digits, tmp_path: Path, trained: list[int]
) -> None:
    with pytest.raises(ConnectionError):
        train(PLAIN, Report(tmp_path, last=3), one)
    trained.clear()
    found = train(PLAIN, Report(tmp_path), other)
    assert len(trained) == other.epochs, "it went on from a checkpoint of another training"
    assert found == dataclasses.replace(train(PLAIN, Report(None), other), seconds=found.seconds)


def test_a_checkpoint_of_other_showers_is_passed_over(tmp_path: Path, trained: list[int]) -> None:
    from raysearch.workloads.calorimeter import Calorimeter

    small = {"n_train": 100, "n_pool": 200, "n_validation": 50, "n_test": 50, "epochs": 4}
    parameters = {"conv1": 2, "fc": [4], "optimizer": "AdamW", "lr": 0.003, "batch_size": 32}
    for change in ({}, {"data_seed": 1}, {"target": "position"}, {"dataset": "A"}, {"n_pool": 300}):
        workload = Calorimeter(**(small | change))
        trained.clear()
        with pytest.raises(ConnectionError):
            workload.train(Configuration.of(parameters), [7], Report(tmp_path, last=3), workload.prepare())
        assert len(trained) == 4, change


def test_searches_that_share_a_folder_keep_checkpoints_of_their_own(tmp_path: Path, trained: list[int]) -> None:
    other = Digits(epochs=6, n_train=300)
    for workload in (DIGITS, other):
        with pytest.raises(ConnectionError):
            train(PLAIN, Report(tmp_path, last=3), workload)
    trained.clear()
    for workload in (DIGITS, other):
        train(PLAIN, Report(tmp_path), workload)
    assert len(trained) == 3 + 3
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_checkpoint_of_other_data_under_the_same_settings_is_passed_over(tmp_path: Path, trained: list[int]) -> None:
    changed = DATA | {"validation_images": DATA["validation_images"] * 0.5}  # as a file may be, behind its path
    with pytest.raises(ConnectionError):
        train(PLAIN, Report(tmp_path, last=3))
    trained.clear()
    DIGITS.train(Configuration.of(PLAIN), [7], Report(tmp_path), changed)
    assert len(trained) == 6


def test_a_checkpoint_of_another_version_of_the_loop_is_passed_over(
    tmp_path: Path, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConnectionError):
        train(PLAIN, Report(tmp_path, last=3))
    trained.clear()
    monkeypatch.setattr(training_fingerprint, "FORMAT", training_fingerprint.FORMAT + 1)
    train(PLAIN, Report(tmp_path))
    assert len(trained) == 6


LETTERS = set("abcdefghijklm")
"""A set of as good as never the same order in two processes."""


class _Plain:
    def __init__(self, size: int) -> None:
        self.size = size


def key(size: int = 1, **parameters: Any) -> str:
    return training_fingerprint.fingerprint(_Plain(size), parameters, np.ones(2), torch.ones(1), key, DIGITS)


def test_the_key_tells_values_and_types_apart_but_no_order_of_parameters() -> None:
    assert key(a=1, b=2) == key(b=2, a=1)
    assert len({key(a=1, b=2), key(a=1, b=3), key(size=2, a=1, b=2), key(a=12), key(a="1", b=2), key(ab=[1, 2])}) == 6


@pytest.mark.process
def test_the_key_is_the_same_in_another_process() -> None:
    here = importlib.import_module("test_training_fingerprint")  # by the name that it has there: it is in the key
    code = "import test_training_fingerprint as there; print(there.key(a=there.LETTERS))"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == here.key(a=here.LETTERS)
