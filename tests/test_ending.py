"""What a finished search leaves behind: its result comes home whatever drawing, the disk or a model make of it."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raysearch
from raysearch.analysis import report
from raysearch.driver import status
from raysearch.driver.resume import resume
from raysearch.storage.instances import read_parquet
from raysearch.workloads.synthetic import Synthetic

pytestmark = pytest.mark.figures
HERE = {"execution": "local", "tracking": None, "progress": False}
EIGHT = {"space": {"a": list(range(1, 9))}, "rule": {"name": "halving", "warmup": 2}, "criterion": "q3", **HERE}
LEFT_OUT = "could not be drawn and is left out"


def page_of(run_dir: Path) -> str:
    return (run_dir / "report.html").read_text(encoding="utf-8")


def test_one_seed_that_diverges_for_all_configurations_costs_no_figure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unlucky: list[int] = []

    def train(config: dict[str, Any], seed: int) -> float:
        unlucky.append(seed)
        return math.nan if seed == unlucky[0] else config["a"] + seed % 100 / 1000

    found = raysearch.search(train, confirm=2, run_dir=tmp_path / "run", **EIGHT)
    assert np.isinf(found.verdict.race.criterion)
    assert len(read_parquet(tmp_path / "run" / "instances.parquet")) == len(found.instances) == 24
    page = page_of(tmp_path / "run")
    assert LEFT_OUT not in page
    assert "configurations below x" in page, "the curves of the criteria that are finite"
    assert not caplog.records
    path = status.write_report(tmp_path / "run", tmp_path / "again.html")
    assert LEFT_OUT not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("scale", [1e300, -1e300, 1e-310])
def test_huge_and_tiny_losses_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture, scale: float) -> None:
    def train(config: dict[str, Any], seed: int) -> Any:
        loss = config["a"] * scale * (1 + seed % 7) if seed % 3 else 0.01 * config["a"]
        yield 2 * loss
        yield loss

    found = raysearch.search(train, confirm=5, run_dir=tmp_path / "run", **EIGHT)
    assert found.verdict.confirmation is not None
    assert LEFT_OUT not in page_of(tmp_path / "run")
    assert not caplog.records


def test_a_figure_that_fails_is_named_in_the_report_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("x and y must have the <same> first dimension")

    drawings = [dataclasses.replace(d, draw=broken) if d.key == "criteria" else d for d in report.DRAWINGS]
    monkeypatch.setattr(report, "DRAWINGS", tuple(drawings))
    with caplog.at_level(logging.WARNING, "raysearch"):
        found = raysearch.search(lambda config, seed: config["a"], run_dir=tmp_path / "run", confirm=1, **EIGHT)
    assert found.verdict.winner.parameters == {"a": 1}
    page = page_of(tmp_path / "run")
    note = "The figure “criteria” could not be drawn and is left out: ValueError: x and y must have the &lt;same&gt;"
    assert page.count(note) == page.count(LEFT_OUT) == 1
    assert page.count('<svg class="plot"') + page.count('class="plot"') >= 4, "the others are there"
    assert "figure “criteria”" in caplog.text


def test_a_report_that_cannot_be_written_leaves_result_and_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run" / "report.html").mkdir(parents=True)
    with caplog.at_level(logging.WARNING, "raysearch"):
        found = raysearch.search(lambda config, seed: config["a"], run_dir=tmp_path / "run", confirm=1, **EIGHT)
    assert found.verdict.winner.parameters == {"a": 1}
    assert len(read_parquet(tmp_path / "run" / "instances.parquet")) == len(found.instances)
    assert "the report is not written: IsADirectoryError" in caplog.text
    assert f"raysearch report {tmp_path / 'run'}" in caplog.text


@dataclasses.dataclass(frozen=True)
class _Forgetful(Synthetic):
    """Keeps weights, and cannot read them."""

    def train(self, *arguments: Any, **more: Any) -> Any:
        return [dataclasses.replace(result, weights=b"weights") for result in super().train(*arguments, **more)]

    def example(self, data: Any) -> Any:
        return [1.0]

    def predict(self, parameters: Any, weights: bytes, example: Any) -> Any:
        raise KeyError("layer.0")


def test_a_model_that_cannot_be_made_leaves_the_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make_store: Callable[..., str]
) -> None:
    tracking = {"name": "mlflow", "uri": make_store(tmp_path)}
    with caplog.at_level(logging.WARNING, "raysearch"):
        found = raysearch.search(
            _Forgetful(), space={"level": [0.1, 5.0]}, rule={"name": "halving", "warmup": 2}, confirm=2,
            run_dir=tmp_path / "run", **{**HERE, "tracking": tracking},
        )  # fmt: skip
    assert found.verdict.winner.parameters == {"level": 0.1}
    assert "the winner's model is left out: KeyError: 'layer.0'" in caplog.text
    assert "certainty" in page_of(tmp_path / "run")


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 40))])
def test_searches_with_failures_and_divergence_end_with_every_figure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    failing, diverging, size = rng.choice([0.0, 0.2, 0.5, 0.8], 3)

    def train(config: dict[str, Any], seed: int) -> Any:
        chance = np.random.default_rng([seed, config["a"]])
        if chance.random() < failing:
            raise RuntimeError("unlucky")
        for epoch in range(int(chance.integers(1, 4))):
            yield math.nan if chance.random() < diverging / 2 else 10 ** (400 * size * (chance.random() - 0.5)) + epoch

    rule = str(rng.choice(["halving", "significance", "sequential_halving", "exhaustive"]))
    needed = {"exhaustive": {"n_instances": 3}, "sequential_halving": {"budget": 24}}
    sections = {"rule": {"name": rule, **needed.get(rule, {})}}
    criterion = str(rng.choice(["q3", "max", "std", "mean", "q3_plus_iqr"]))
    asked = {**EIGHT, **sections, "criterion": criterion, "confirm": int(rng.integers(0, 4)), "retries": 0}
    try:
        raysearch.search(train, run_dir=tmp_path / "run", **asked)
    except raysearch.errors.WorkloadError:  # all of the first failed: nothing to report of
        return
    assert LEFT_OUT not in page_of(tmp_path / "run")
    assert not [record for record in caplog.records if "left out" in record.message]
    assert resume(tmp_path / "run", workload=train).verdict.winner


def test_measures_whose_data_went_away_leave_the_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from raysearch.driver import run
    from raysearch.experiment.experiment import from_data
    from raysearch.workloads.digits import Digits

    @dataclasses.dataclass(frozen=True)
    class Unplugged(Digits):
        def prepare(self) -> Any:
            if (tmp_path / "run" / "journal.jsonl").is_file() and b'"final"' in (
                tmp_path / "run" / "journal.jsonl"
            ).read_bytes():
                raise OSError("the dataset is not there")
            return super().prepare()

    experiment = {
        "name": "small",
        "workload": {"name": "digits", "n_train": 100, "n_validation": 60, "n_test": 80, "epochs": 1},
        "space": {"hidden": [[8], [4]], "optimizer": ["AdamW"], "lr": [0.02], "batch_size": [32]},
        "rule": {"name": "halving", "warmup": 2},
        "race": {"confirm": 1},
        "measures": ["noise_resilience"],
        "execution": "local",
        "tracking": None,
    }
    workload = Unplugged(n_train=100, n_validation=60, n_test=80, epochs=1)
    with caplog.at_level(logging.WARNING, "raysearch"):
        found = run(from_data(experiment), tmp_path / "run", workload=workload)
    assert found.verdict.confirmation is not None
    assert "not all measures were taken: OSError: the dataset is not there. `raysearch resume" in caplog.text
    assert "certainty" in page_of(tmp_path / "run")
    resume(tmp_path / "run", workload=Digits(n_train=100, n_validation=60, n_test=80, epochs=1))
    assert "Noise resilience" in page_of(tmp_path / "run")
