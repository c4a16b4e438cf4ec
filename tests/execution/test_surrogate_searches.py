"""Whole searches that leave configurations untrained: alone, packed, on Ray, in MLflow, in a space by a function."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow_image import runs_of

import raysearch
from raysearch.driver.run import run
from raysearch.driver.status import race_of
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import read

RULE = {"name": "surrogate", "start": 16, "batch": 6, "finalists": 3, "certify": 4, "cap": 6, "window": 6}
DIGITS = {
    "name": "untrained",
    "seed": 2,
    "workload": {"name": "digits", "epochs": 2, "n_train": 100},
    "space": {
        "hidden": [[4], [8], [16]],
        "optimizer": ["AdamW", "SGD"],
        "momentum": {"choice": [0.5, 0.9], "when": {"optimizer": ["SGD"]}},
        "lr": [0.0003, 0.001, 0.003, 0.01, 0.03],
        "batch_size": [25],
    },
    "criterion": "median",
    "rule": RULE,
    "race": {"confirm": 3},
    "tracking": "silent",
}


def decided(run_dir: Path) -> tuple[list[Any], dict[Any, Any]]:
    """Return the cuts and verdicts of a journal, and its losses."""
    lines = list(read(run_dir / "journal.jsonl"))
    told = {(line["configuration"], line["seed"]): line["loss"] for line in lines if line["event"] == "tell"}
    return [{**line, "t": 0} for line in lines if line["event"] in ("eliminate", "verdict")], told


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    result = run(from_data({**DIGITS, "execution": "local"}), folder / "run")
    assert 0 < result.verdict.n_untrained < 45
    return folder / "run"


def same(run_dir: Path, alone: Path) -> None:
    cuts, losses = decided(run_dir)
    expected, known = decided(alone)
    assert cuts == expected
    assert len(cuts) > 3
    both = losses.keys() & known.keys()  # what ran when the verdict fell differs
    assert len(both) > 0.8 * len(known)
    assert {key: losses[key] for key in both} == {key: known[key] for key in both}


def test_packed_it_decides_as_alone(alone: Path, tmp_path: Path) -> None:
    run(from_data({**DIGITS, "execution": {"name": "local", "pack": 8}}), tmp_path / "run")
    same(tmp_path / "run", alone)


@pytest.mark.long
def test_on_ray_it_decides_as_alone(alone: Path, ray_cluster: None, tmp_path: Path) -> None:
    run(from_data({**DIGITS, "execution": {"name": "ray_tune", "pack": 3}}), tmp_path / "run")
    same(tmp_path / "run", alone)


def test_report_and_journal_tell_who_was_never_trained(alone: Path) -> None:
    race, _, _ = race_of(alone)
    n = len(race.state.pool.configurations)
    n_untrained = sum(cut.n_instances == 0 for cut in race.state.eliminations) and len(
        race.state.eliminations[0].configurations
    )
    trained = {id_ for id_, _ in decided(alone)[1]}
    assert len(trained) == n - n_untrained
    page = (alone / "report.html").read_text(encoding="utf-8")
    assert f"among {n}, of which {n_untrained} were never trained" in page
    assert "of the best of those that raced last" in page
    assert "the model of their neighbours" in page


def test_mlflow_has_no_run_of_who_was_never_trained(make_store: Any, tmp_path: Path) -> None:
    tracking = {"name": "mlflow", "uri": make_store(tmp_path), "weights": "none"}
    data = {**DIGITS, "tracking": tracking, "execution": {"name": "local", "pack": 8}, "race": {"confirm": 0}}
    verdict = run(from_data(data), tmp_path / "run").verdict
    runs = runs_of(tmp_path, "untrained")
    assert len(runs["configuration"]) == verdict.n_configurations - verdict.n_untrained
    note = runs["search"][0].data.tags["mlflow.note.content"]
    assert f"{verdict.n_untrained} of them never trained" in note
    assert "of the best of those that raced last" in note


def by_function(trial: Any) -> None:
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    if trial.suggest_categorical("kind", ["plain", "deep"]) == "deep":
        trial.suggest_int("depth", 2, 6)


def test_a_space_by_a_function_with_failures(tmp_path: Path) -> None:
    calls: Counter[str] = Counter()

    def train(config: dict[str, Any], seed: int) -> float:
        calls["all"] += 1
        if config["lr"] > 0.5:
            raise RuntimeError("too large a step")
        level = 0.1 * (math.log10(config["lr"]) + 2) ** 2 + 0.05 * (config.get("depth", 2) - 4) ** 2
        return 1 + level + 0.02 * math.sin(seed)

    result = raysearch.search(
        train,
        space=by_function,
        sampler={"name": "random", "n_configurations": 150},
        criterion="mean",
        rule={**RULE, "start": 24},
        execution="local",
        tracking=None,
        confirm=0,
        run_dir=tmp_path / "run",
        progress=False,
    )
    assert result.verdict.n_configurations == 150
    assert result.verdict.n_untrained > 40
    assert abs(math.log10(result.verdict.winner.parameters["lr"]) + 2) < 0.6
    assert result.verdict.winner.parameters.get("depth") in (3, 4, 5)
