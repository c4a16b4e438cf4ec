"""An instance that was cut off goes on from its last kept epoch, and ends as if nothing had happened."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from cut_off import DATA, DIGITS, PLAIN, Report, count_epochs, train
from ray import cloudpickle

from raysearch.driver import run
from raysearch.execution.ray_tune import RayTune
from raysearch.experiment.experiment import from_data, section_of
from raysearch.records import Configuration
from raysearch.storage.journal import read
from raysearch.training import loop as training
from raysearch.workloads.digits import Digits

# workers cannot import a test module: send what it defines by value
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return count_epochs(monkeypatch)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"optimizer": "SGD", "momentum": 0.9, "schedule": "cosine", "warmup_epochs": 2},
        {"dropout": 0.3, "optimizer": "NAdam"},
        {"optimizer": "Adam", "weight_decay": 0.01, "clip_norm": 1.0},
        {"optimizer": "Adamax"},
        {"optimizer": "RAdam"},
        {"optimizer": "RMSprop", "momentum": 0.5},
        {"average": "swa", "average_start": 0.3},
        {"average": "ema", "average_start": 0.3},
        {"loss": "clf", "loss_alpha": 0.5},
        {"conv": [4], "freeze_from": 3},
    ],
    ids=lambda more: next(iter(more), "plain"),
)
def test_cut_off_in_epoch_4_of_6_it_goes_on_from_3_to_the_same_loss(
    more: dict[str, Any], tmp_path: Path, trained: list[int]
) -> None:
    parameters = {**PLAIN, **more}
    whole = train(parameters, Report(None))
    trained.clear()
    with pytest.raises(ConnectionError):
        train(parameters, Report(tmp_path, last=3))
    assert len(trained) == 4
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.suffix == ".safetensors"
    np.random.default_rng().random()  # whatever happens between the two must not matter
    report = Report(tmp_path)
    again = train(parameters, report)
    assert len(trained) == 4 + 3, "three epochs were not trained again"
    assert report.epochs == [1, 2, 3, 4, 5, 6]
    assert (again.loss, again.curve, again.test_loss) == (whole.loss, whole.curve, whole.test_loss)
    assert again.metrics == whole.metrics
    assert again.weights == whole.weights
    assert not file.exists(), "it is deleted when the instance has ended"


def test_it_is_written_no_more_often_than_asked(tmp_path: Path) -> None:
    report = Report(tmp_path, last=3)
    report.checkpoints = (str(tmp_path), 3600.0)
    with pytest.raises(ConnectionError):
        train(PLAIN, report)
    assert not any(tmp_path.iterdir())


def without_a_part(content: bytes) -> bytes:
    """Return the file with an optimizer's tensor missing, so that it breaks off when half of it is put back."""
    metadata = safetensors_header(content)
    tensors = safetensors.torch.load(content)
    del tensors["random/cpu"]
    return bytes(safetensors.torch.save(tensors, metadata))


def safetensors_header(content: bytes) -> dict[str, str]:
    size = int.from_bytes(content[:8], "little")
    return dict(json.loads(content[8 : 8 + size])["__metadata__"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: bytes(len(content)),
        without_a_part,
    ],
    ids=["cut in half", "empty", "zeros", "a part is missing"],
)
def test_a_damaged_checkpoint_is_warned_of_and_passed_over(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parameters = {**PLAIN, "dropout": 0.3, "average": "ema", "average_start": 0.3}
    with pytest.raises(ConnectionError):
        train(parameters, Report(tmp_path, last=3))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.write_bytes(damage(file.read_bytes()))
    whole, report = train(parameters, Report(None)), Report(tmp_path)
    with caplog.at_level(logging.WARNING):
        again = train(parameters, report)
    assert f"the checkpoint {file} cannot be used, training starts at epoch 0" in caplog.text
    assert report.epochs == [1, 2, 3, 4, 5, 6]
    assert (again.loss, again.curve, again.metrics) == (whole.loss, whole.curve, whole.metrics)
    assert again.weights == whole.weights
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_folder_that_cannot_be_written_is_one_warning_and_no_crash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        result = train(PLAIN, Report(tmp_path / "file" / "kept"))
    assert result.curve == train(PLAIN, Report(None)).curve
    (warning,) = caplog.records
    assert "cannot keep the checkpoint" in warning.message
    assert "Not a directory" in warning.message


def test_what_a_killed_worker_left_half_written_goes_with_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        train(PLAIN, Report(tmp_path, last=3))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.with_suffix(".1234").write_bytes(b"half")
    (other := file.with_name("77.safetensors")).touch()
    train(PLAIN, Report(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [other]


def test_a_checkpoint_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def syncing(number: int) -> None:
        done.append("fsync")
        fsync(number)

    def replacing(path: Path, to: Path) -> Path:
        done.append("replace")
        return replace(path, to)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", replacing)
    with pytest.raises(ConnectionError):
        train(PLAIN, Report(tmp_path, last=1))
    assert done == ["fsync", "replace"]


@dataclass(frozen=True)
class _Killed(Digits):
    """Digits whose worker is killed in epoch 4 of each instance, the first time."""

    marks: str = ""

    def train(self, configuration: Any, seeds: Any, report: Any, data: Any) -> Any:
        mark = Path(self.marks, f"{configuration.id}-{seeds[0]}")

        class Fatal:
            checkpoints = report.checkpoints

            def __call__(self, epoch: int, loss: float) -> None:
                if epoch == 4 and not mark.exists():
                    mark.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                report(epoch, loss)

        return super().train(configuration, seeds, Fatal(), data)


@pytest.mark.slow
def test_on_ray_a_killed_instance_goes_on_on_another_worker(ray_cluster: None, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    executor = RayTune(checkpoints=str(tmp_path / "kept"), checkpoint_every_s=0.001)
    space = {name: [value] for name, value in PLAIN.items()} | {"hidden": [[16]]}
    rule = {"name": "exhaustive", "n_instances": 2}
    data = {"name": "kept", "workload": {"name": "digits", "epochs": 6, "n_train": 200}, "space": space, "rule": rule}
    data |= {"race": {"confirm": 0}, "tracking": None, "execution": section_of(executor)}
    run(from_data(data), tmp_path / "run", workload=_Killed(epochs=6, n_train=200, marks=str(tmp_path / "marks")))
    told = [event for event in read(tmp_path / "run" / "journal.jsonl") if event["event"] == "tell"]
    assert [event["attempt"] for event in told] == [2, 2]
    for event in told:
        whole = DIGITS.train(Configuration.of(PLAIN), [event["seed"]], Report(None), DATA)[0]
        assert (event["loss"], event["curve"]) == (whole.loss, list(whole.curve))
    assert not any(path.is_file() for path in (tmp_path / "kept").rglob("*"))


def test_cut_off_after_its_last_epoch_an_instance_is_only_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[int]
) -> None:
    whole = train(PLAIN, Report(None))
    trained.clear()
    with monkeypatch.context() as lost:
        lost.setattr(training, "accuracies", lambda *_: (_ for _ in ()).throw(ConnectionError))
        with pytest.raises(ConnectionError):
            train(PLAIN, Report(tmp_path))
    again = train(PLAIN, Report(tmp_path))
    assert len(trained) == 6
    assert (again.loss, again.metrics, again.weights) == (whole.loss, whole.metrics, whole.weights)
