"""A search whose instances train in packs is the search whose instances train alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysearch.driver.resume import resume
from raysearch.driver.run import run
from raysearch.execution.packing import Pack, Packer
from raysearch.experiment.experiment import from_data
from raysearch.records import Configuration, PackGain, TrialRequest
from raysearch.storage.journal import read

DIGITS = {
    "name": "packed",
    "seed": 2,
    "workload": {"name": "digits", "epochs": 4, "n_train": 200},
    "space": {"hidden": [[8], [12]], "optimizer": ["AdamW"], "lr": [0.003, 0.01, 0.1], "batch_size": [32]},
    "criterion": "median",
    "rule": {"name": "halving", "warmup": 3},
    "race": {"confirm": 4},
    "tracking": "silent",
}


def decided(run_dir: Path) -> dict[str, Any]:
    """Everything of a journal but when, where and in which order."""
    lines = list(read(run_dir / "journal.jsonl"))
    told = {
        (line["configuration"], line["seed"]): (line["loss"], line["test_loss"], line["curve"], line["status"])
        for line in lines
        if line["event"] == "tell"
    }
    cuts = [{**line, "t": 0} for line in lines if line["event"] in ("eliminate", "verdict")]
    return {"told": told, "cuts": cuts}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("alone")
    run(from_data({**DIGITS, "execution": "local"}), folder / "run")
    return decided(folder / "run")


@pytest.mark.parametrize("pack", [3, 8, 64])
def test_a_packed_search_is_that_of_instances_alone(alone: dict[str, Any], pack: int, tmp_path: Path) -> None:
    run(from_data({**DIGITS, "execution": {"name": "local", "pack": pack}}), tmp_path / "run")
    assert decided(tmp_path / "run") == alone


def test_a_packed_search_on_ray_is_that_of_instances_alone(
    alone: dict[str, Any], ray_cluster: None, tmp_path: Path
) -> None:
    run(from_data({**DIGITS, "execution": {"name": "ray_tune", "pack": 5}}), tmp_path / "run")
    assert decided(tmp_path / "run") == alone


def test_members_are_screened_out_one_by_one(tmp_path: Path) -> None:
    race = {"confirm": 2, "screen": {"rule": "median", "n_startup": 2, "first_epoch": 1}}
    experiment = {**DIGITS, "race": race, "space": {**DIGITS["space"], "lr": [0.003, 0.01, 0.1, 1e-6]}}
    run(from_data({**experiment, "execution": {"name": "local", "pack": 4}}), tmp_path / "run")
    screened = [line for line in read(tmp_path / "run" / "journal.jsonl") if line["event"] == "screen"]
    assert screened
    assert all(len(line["curve"]) < 4 for line in screened)


def test_a_pack_that_breaks_is_tried_again_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raysearch.workloads.digits import Digits

    sizes: list[int] = []
    real = Digits.train_pack

    def breaks_once(self: Digits, members: Any, report: Any, data: Any) -> Any:
        sizes.append(len(members))
        if len(sizes) == 1:
            raise RuntimeError("out of memory")
        return real(self, members, report, data)

    monkeypatch.setattr(Digits, "train_pack", breaks_once)
    run(from_data({**DIGITS, "execution": {"name": "local", "pack": 6}}), tmp_path / "run")
    lines = list(read(tmp_path / "run" / "journal.jsonl"))
    assert sum(line["event"] == "lost" for line in lines) == sizes[0] == 6
    assert not [line for line in lines if line["event"] == "failure"], "nobody's fault is counted"
    assert {line["status"] for line in lines if line["event"] == "tell"} == {"COMPLETE"}


def packs_of(run_dir: Path) -> list[dict[str, Any]]:
    return [line for line in read(run_dir / "journal.jsonl") if line["event"] == "packs"]


def test_auto_packs_what_pays_and_decides_as_lone_instances(alone: dict[str, Any], tmp_path: Path) -> None:
    run(from_data({**DIGITS, "execution": {"name": "local", "pack": "auto"}}), tmp_path / "run")
    assert decided(tmp_path / "run") == alone
    measured = packs_of(tmp_path / "run")
    assert len(measured) == 2, "one for each architecture"
    for line in measured:
        assert line["width"] > 1, "perceptrons this small pay"
        assert line["alone_s"] > 2 * line["packed_s"] > 0.0
    assert len({line["configuration"] for line in measured}) == 2


@pytest.mark.long
def test_auto_on_ray_decides_as_lone_instances(alone: dict[str, Any], ray_cluster: None, tmp_path: Path) -> None:
    run(from_data({**DIGITS, "execution": {"name": "ray_tune", "pack": "auto"}}), tmp_path / "run")
    assert decided(tmp_path / "run") == alone
    assert packs_of(tmp_path / "run")


def test_auto_trains_convolutions_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raysearch.workloads.digits import Digits

    monkeypatch.setattr(Digits, "train_pack", lambda *_: pytest.fail("trained a pack"))
    space = {**DIGITS["space"], "conv": [[16, 32]], "hidden": [[32]], "lr": [0.003, 0.01]}
    run(from_data({**DIGITS, "space": space, "execution": {"name": "local", "pack": "auto"}}), tmp_path / "run")
    (line,) = packs_of(tmp_path / "run")
    assert line["width"] == 1


def test_auto_leaves_the_window_of_a_rule_as_it_is_for_lone_instances(tmp_path: Path) -> None:
    windows = []
    for pack in (1, "auto"):
        rule = {"name": "top_two", "certify": 2, "budget": 20}
        experiment = {**DIGITS, "rule": rule, "execution": {"name": "local", "pack": pack}}
        run(from_data(experiment), tmp_path / f"run{pack}")
        windows += [
            line["width"] for line in read(tmp_path / f"run{pack}" / "journal.jsonl") if line["event"] == "window"
        ]
    assert windows == [2, 2]
    assert decided(tmp_path / "run1")["cuts"] == decided(tmp_path / "runauto")["cuts"]


def test_a_search_packed_by_measurement_goes_on_unpacked(alone: dict[str, Any], tmp_path: Path) -> None:
    run(from_data({**DIGITS, "execution": {"name": "local", "pack": "auto"}}), tmp_path / "whole")
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "journal.jsonl").write_bytes(b"".join(lines[: 2 * len(lines) // 3]))
    (tmp_path / "cut" / "experiment.yaml").write_bytes((tmp_path / "whole" / "experiment.yaml").read_bytes())
    resume(tmp_path / "cut", {"execution": {"name": "local", "pack": 1}})
    assert decided(tmp_path / "cut") == alone


def request(x: int, seed: int) -> TrialRequest:
    return TrialRequest(Configuration.of({"x": x}), (seed,))


def test_requests_of_one_key_fill_packs_in_the_order_of_asking() -> None:
    packer = Packer(2, lambda parameters: None if parameters["x"] == 9 else parameters["x"] % 2)
    asked = [request(0, 1), request(1, 1), request(9, 1), request(2, 1), request(3, 1), request(4, 1)]
    for one in asked:
        packer.add([one])
    whole = []
    while (pack := packer.take(whole=True)) is not None:
        whole.append([one.configuration.parameters["x"] for one in pack.requests])
    assert whole == [[0, 2], [1, 3], [9]]
    assert packer.take(whole=False) == Pack((asked[5],))
    assert packer.take(whole=False) is None


def test_where_not_all_slots_get_a_whole_pack_each_gets_its_share() -> None:
    packer = Packer(64, lambda parameters: "same", n_slots=3)
    assert packer.n_wanted == 192
    packer.add([request(0, seed) for seed in range(100)])
    assert packer.n_wanted == 92
    assert packer.take(whole=True) is None, "more may be there to be asked for"
    sizes = []
    while (pack := packer.take(whole=False)) is not None:
        sizes.append(len(pack.requests))
    assert sizes == [34, 34, 32]


def test_the_first_of_an_architecture_measures_and_the_next_ones_follow_it() -> None:
    packer = Packer("auto", lambda parameters: parameters["x"], n_slots=1)
    assert packer.n_wanted == packer.width == 1
    packer.add([request(0, seed) for seed in range(20)])
    scout = packer.take(whole=True)
    assert scout == Pack((request(0, 0),), measures=0)
    assert packer.take(whole=True) == Pack((request(0, 1),)), "until it is known they train alone"
    packer.learn(scout, None)
    again = packer.take(whole=True)
    assert again == Pack((request(0, 2),), measures=0), "where nothing came of it, another one measures"
    packer.learn(again, PackGain(8, 4e-4, 1e-4))
    assert packer.n_wanted == 8
    whole = packer.take(whole=True)
    assert whole is not None
    assert [one.seeds[0] for one in whole.requests] == [*range(3, 11)]
    packer.learn(scout, PackGain(1))
    assert packer.n_wanted == 8, "what comes late changes nothing"
    packer.add([request(1, 0)])
    other = packer.take(whole=True)
    assert other == Pack((request(1, 0),), measures=1)
    packer.learn(other, PackGain(1))
    packer.add([request(1, 1)])
    assert packer.take(whole=True) is not None, "the nine of the other architecture"
    assert packer.take(whole=True) == Pack((request(1, 1),))


def test_what_broke_is_kept_apart_and_a_width_of_one_packs_nothing() -> None:
    packer = Packer(4, lambda parameters: "same")
    first, second = request(0, 1), request(0, 2)
    packer.keep_apart(first.keys)
    packer.add([first, second])
    assert packer.take(whole=True) == Pack((first,))
    assert packer.take(whole=True) is None
    assert packer.take(whole=False) == Pack((second,))
    alone = Packer(1, lambda parameters: "same")
    alone.add([first, second])
    assert [alone.take(whole=True), alone.take(whole=True)] == [Pack((first,)), Pack((second,))]
