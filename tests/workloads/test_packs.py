"""Which configurations can train in one pack, as their workload tells before anything is trained."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from packed import check_pack, members_of, quiet

from raysearch import registry
from raysearch.records import Configuration
from raysearch.training.measures import MeasureResult
from raysearch.workloads._measured import Measured
from raysearch.workloads.digits import Digits

TRAINING = {"optimizer": "AdamW", "lr": 0.01, "batch_size": 32}
PARAMETERS = {
    "digits": {"hidden": [32], **TRAINING},
    "calorimeter": {"conv1": 4, "fc": [9], **TRAINING},
    "cifar10": {"width": 4, "blocks": 1, **TRAINING},
    "images": {"network": "lenet", "conv": [4], "hidden": [8], **TRAINING},
}
ALIKE: list[dict[str, Any]] = [
    {"lr": 0.003},
    {"weight_decay": 0.1},
    {"dropout": 0.2},
    {"clip_norm": 1.0},
    {"schedule": "cosine", "warmup_epochs": 2},
]
OTHER: list[dict[str, Any]] = [
    {"batch_size": 16},
    {"optimizer": "NAdam"},
    {"average": "swa"},
    {"average": "ema"},
    {"loss": "clf"},
    {"loss": "tgtss", "loss_teacher_epochs": 3},
]
SHAPES = {
    "digits": [{"hidden": [33]}, {"conv": [4]}, {"activation": "Tanh"}],
    "calorimeter": [{"conv1": 5}, {"feature": True}, {"pool1": 1}, {"activation": "PReLU"}],
    "cifar10": [{"width": 8}, {"blocks": 2}, {"flip": False}],
    "images": [{"conv": [5]}, {"kernel": 3}, {"hidden": []}, {"activation": "Tanh"}, {"flip": True}],
}


def make(name: str, **settings: Any) -> Any:
    return registry.load("workloads", name, **({"folder": "nowhere"} if name == "cifar10" else {}), **settings)


@pytest.mark.parametrize("name", PARAMETERS)
def test_recipes_may_differ_and_all_else_may_not(name: str) -> None:
    workload, plain = make(name), PARAMETERS[name]
    key = workload.pack_key(plain)
    assert hash(key) == hash(workload.pack_key(dict(plain)))
    assert all(workload.pack_key({**plain, **more}) == key for more in ALIKE)
    others = [workload.pack_key({**plain, **more}) for more in [*OTHER, *SHAPES[name]]]
    assert len({key, *others}) == 1 + len(others), "no two of them can train together"
    assert None not in others


@pytest.mark.parametrize("name", PARAMETERS)
def test_weights_of_a_loss_may_differ_and_what_is_trained_beside_may_not(name: str) -> None:
    def key(**loss: Any) -> object:
        return make(name).pack_key({**PARAMETERS[name], **loss})

    assert key(loss="clf", loss_alpha=0.1) == key(loss="clf", loss_alpha=0.5)
    assert key(loss="tgtss", loss_tau=3.0) == key(loss="tgtss", loss_teacher_seed=1)
    assert key(average="swa", average_start=0.5) != key(average="swa", average_start=0.75)


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_cannot_be_packed_has_no_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(name).pack_key({**PARAMETERS[name], "freeze_from": 2}) is None
    assert make(name, n_threads=2).pack_key(PARAMETERS[name]) is None

    @dataclass(frozen=True)
    class Old:
        """A loss that knows nothing of packs."""

    monkeypatch.setattr(registry, "plugin", lambda room, loss: Old)
    monkeypatch.setattr(registry, "load", lambda room, loss, **_: Old())
    assert make_digits().pack_key({**PARAMETERS["digits"], "loss": "old"}) is None


def make_digits() -> Digits:
    return Digits(epochs=2, n_train=100)


@pytest.mark.process
def test_a_key_needs_no_torch() -> None:
    program = f"""
import sys
from raysearch import registry
for name, own in {PARAMETERS!r}.items():
    more = dict(folder="nowhere") if name == "cifar10" else dict()
    assert registry.load("workloads", name, **more).pack_key({{**own, "loss": "clf"}}) is not None
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_instances_of_a_pack_are_measured_as_lone_ones_are() -> None:
    def measure(subject: Any) -> MeasureResult:
        weights = [value.detach().abs().sum() for value in subject.module.parameters()]
        return MeasureResult({"size": float(sum(weights)) / (1.0 if len(subject.inputs) == 300 else 2.0)})

    workload = Measured(make_digits(), {"weights": measure}, of="weights.size")
    data = workload.prepare()
    results = check_pack(workload, data, [PARAMETERS["digits"], {**PARAMETERS["digits"], "lr": 0.003}])
    assert all(result.loss == result.metrics["weights.size"] for result in results)


def test_a_measured_workload_without_packs_has_no_key() -> None:
    class Plain:
        constraints: ClassVar[tuple[str, ...]] = ()

    assert Measured(Plain(), {}).pack_key({"x": 1}) is None


def test_a_pack_begins_when_its_first_result_is_asked_for() -> None:
    heard: list[int] = []
    workload = make_digits()
    members = members_of([PARAMETERS["digits"]], [1, 2])
    results = workload.train_pack(members, lambda member, epoch, loss: heard.append(member), workload.prepare())
    assert heard == []
    assert [number for number, _ in results] == [0, 1]
    assert heard == [0, 1, 0, 1]
    assert list(workload.train_pack([(Configuration.of(PARAMETERS["digits"]), 1)], quiet, workload.prepare()))
