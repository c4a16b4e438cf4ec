"""Members leave a pack, are cut off and go on, each by itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cut_off import DATA, DIGITS, PLAIN
from packed import assert_same, members_of, quiet

from raysearch.records import InstanceResult
from raysearch.training.packs import instances as training_packs
from raysearch.training.packs.loop import Pack
from raysearch.workloads.digits import Digits

MEMBERS = members_of([PLAIN, {**PLAIN, "lr": 0.003}], [1, 2, 3])


@pytest.fixture(autouse=True)
def _never_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_packs, "_one_by_one", lambda *_: pytest.fail("trained one by one"))


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets the width of the pack at every epoch that is really trained."""
    found: list[int] = []
    teach = Pack._teach
    monkeypatch.setattr(Pack, "_teach", lambda pack: (found.append(len(pack._members)), teach(pack))[1])
    return found


class Report:
    """What an executor hands to a pack; may break off the whole of it, or end one member."""

    def __init__(self, folder: Path | None = None, last: int = 99, ends: dict[int, int] | None = None) -> None:
        self.checkpoints = None if folder is None else (str(folder), 0.0)
        self.last, self.ends, self.heard = last, ends or {}, dict[int, list[int]]()

    def __call__(self, member: int, epoch: int, loss: float) -> bool:
        self.heard.setdefault(member, []).append(epoch)
        if epoch > self.last:
            raise ConnectionError
        return self.ends.get(member) != epoch


class Alone:
    """The same for a lone instance."""

    def __init__(self, folder: Path | None = None, last: int = 99) -> None:
        self.checkpoints, self.last = None if folder is None else (str(folder), 0.0), last

    def __call__(self, epoch: int, loss: float) -> None:
        if epoch > self.last:
            raise ConnectionError


def alone(number: int, members: Any = MEMBERS, report: Any = None) -> InstanceResult:
    configuration, seed = members[number]
    return DIGITS.train(configuration, [seed], report or Alone(), DATA)[0]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_every_member_is_reported_after_every_epoch() -> None:
    report = Report()
    found = dict(DIGITS.train_pack(MEMBERS, report, DATA))
    assert report.heard == {number: [1, 2, 3, 4, 5, 6] for number in range(6)}
    assert [found[number].key.seed for number in range(6)] == [1, 2, 3, 1, 2, 3]


def test_a_member_that_is_told_to_end_leaves_without_a_result_and_the_pack_goes_on_narrower(widths: list[int]) -> None:
    report = Report(ends={4: 2, 0: 2, 3: 5})
    found = dict(DIGITS.train_pack(MEMBERS, report, DATA))
    assert widths == [6, 6, 4, 4, 4, 3]
    assert sorted(found) == [1, 2, 5]
    assert report.heard[4] == [1, 2]
    for number, result in found.items():
        assert_same(result, alone(number))


def test_all_may_leave() -> None:
    assert list(DIGITS.train_pack(MEMBERS, Report(ends=dict.fromkeys(range(6), 2)), DATA)) == []


def test_an_exception_from_the_report_ends_all_of_them() -> None:
    with pytest.raises(ConnectionError):
        list(DIGITS.train_pack(MEMBERS, Report(last=2), DATA))


def test_results_come_home_as_members_end() -> None:
    workload = Digits(epochs=12, n_train=200, patience=1)
    members = members_of([{**PLAIN, "lr": lr} for lr in (0.003, 0.1)], [1, 2])
    report = Report()
    lengths = []
    for _, result in workload.train_pack(members, report, DATA):
        assert len(result.curve) == max(len(epochs) for epochs in report.heard.values())
        lengths.append(len(result.curve))
    assert len(set(lengths)) > 1


MORE: list[dict[str, Any]] = [
    {},
    {"optimizer": "SGD", "momentum": 0.9, "schedule": "cosine", "warmup_epochs": 2},
    {"dropout": 0.3, "optimizer": "NAdam"},
    {"optimizer": "Adam", "weight_decay": 0.01, "clip_norm": 1.0},
    {"optimizer": "RMSprop", "momentum": 0.5},
    {"average": "swa", "average_start": 0.3},
    {"average": "ema", "average_start": 0.3},
    {"loss": "clf", "loss_alpha": 0.5},
    {"loss": "clf_examples", "loss_alpha": 0.5},
    {"loss": "adversarial_training", "loss_n_steps": 2},
    {"loss": "tgtss"},
    {"conv": [4]},
]


@pytest.mark.parametrize("more", MORE, ids=lambda more: next(iter(more), "plain"))
@pytest.mark.parametrize("how", ["in the pack", "alone", "from alone"])
def test_cut_off_in_epoch_4_of_6_members_go_on_from_3_packed_or_alone(
    more: dict[str, Any], how: str, tmp_path: Path, widths: list[int]
) -> None:
    members = members_of([{**PLAIN, **more}, {**PLAIN, **more, "lr": 0.02}], [1, 2])
    if how == "from alone":
        for number in range(4):
            with pytest.raises(ConnectionError):
                alone(number, members, Alone(tmp_path, last=3))
    else:
        with pytest.raises(ConnectionError):
            list(DIGITS.train_pack(members, Report(tmp_path, last=3), DATA))
    assert len(files(tmp_path)) == 4
    widths.clear()
    if how == "alone":
        found = {number: alone(number, members, Alone(tmp_path)) for number in range(4)}
    else:
        report = Report(tmp_path)
        found = dict(DIGITS.train_pack(members, report, DATA))
        n_teachers = 6 if "tgtss" in more.values() else 0
        assert widths == [4] * (n_teachers + 3), "three epochs were not trained again"
        assert report.heard == {number: [1, 2, 3, 4, 5, 6] for number in range(4)}
    for number in range(4):
        assert_same(found[number], alone(number, members))
    assert files(tmp_path) == [], "they are deleted when their instances have ended"


def test_members_of_different_epochs_go_on_in_packs_of_the_same(tmp_path: Path, widths: list[int]) -> None:
    for number, last in ((0, 2), (1, 4), (2, 4), (4, 5)):
        with pytest.raises(ConnectionError):
            alone(number, report=Alone(tmp_path, last=last))
    report = Report(tmp_path, ends={2: 6})
    found = dict(DIGITS.train_pack(MEMBERS, report, DATA))
    assert widths == [2] * 6 + [1] * 4 + [2] * 2 + [1]
    assert sorted(found) == [0, 1, 3, 4, 5]
    for number, result in found.items():
        assert_same(result, alone(number))


def test_a_member_may_be_told_to_end_by_epochs_that_its_checkpoint_tells_again(
    tmp_path: Path, widths: list[int]
) -> None:
    with pytest.raises(ConnectionError):
        list(DIGITS.train_pack(MEMBERS, Report(tmp_path, last=3), DATA))
    widths.clear()
    found = dict(DIGITS.train_pack(MEMBERS, Report(tmp_path, ends={1: 2}), DATA))
    assert widths == [5, 5, 5]
    assert sorted(found) == [0, 2, 3, 4, 5]


def test_cut_off_after_their_last_epoch_members_are_only_measured_again(
    tmp_path: Path, widths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as lost:
        lost.setattr(training_packs, "_result", lambda *_: (_ for _ in ()).throw(ConnectionError))
        with pytest.raises(ConnectionError):
            list(DIGITS.train_pack(MEMBERS, Report(tmp_path), DATA))
    widths.clear()
    found = dict(DIGITS.train_pack(MEMBERS, Report(tmp_path), DATA))
    assert widths == []
    for number, result in found.items():
        assert_same(result, alone(number))


def test_a_members_seconds_are_its_share_of_the_packs_time() -> None:
    start = time.perf_counter()
    found = dict(DIGITS.train_pack(MEMBERS, quiet, DATA))
    whole = time.perf_counter() - start
    assert 0.3 * whole < sum(result.seconds for result in found.values()) <= whole
