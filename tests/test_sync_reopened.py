"""Searches that went on after their end: what MLflow shows of them live, and when sync fills an empty store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow_image import image

from raysearch.driver import run
from raysearch.driver.resume import resume
from raysearch.driver.search import search
from raysearch.driver.sync import sync
from raysearch.errors import JournalError
from raysearch.experiment.experiment import from_data
from raysearch.records import Phase
from raysearch.seeds import Seeds
from raysearch.storage.journal import read

SHOWN = ("criterion", "median", "q3", "iqr", "max", "mean", "std", "n_instances")
EXPERIMENT = {
    "name": "synced",
    "seed": 5,
    "workload": "synthetic",
    "space": {"level": [0.2, 0.205, 0.21, 0.9], "spread": [0.1]},
    "criterion": "q3",
    "rule": {"name": "halving", "warmup": 2},
    "race": {"confirm": 2},
    "execution": "local",
}


def shown(uri: str) -> dict[Any, Any]:
    """What MLflow's table shows of every run: its status, and the last value of its metrics."""
    held = image(uri, "synced", with_ids=False)
    return {
        key: (
            row["status"],
            row["tags"].get("status"),
            {name: points[-1] for name, points in row["points"].items() if name in SHOWN},
        )
        for key, row in held.items()
    }


def test_another_rule_corrects_what_is_shown_of_every_configuration(
    tmp_path: Path, make_store: Callable[..., str]
) -> None:
    live, fresh = make_store(tmp_path, "live.db"), make_store(tmp_path, "fresh.db")
    run_dir = tmp_path / "run"
    first = run(from_data({**EXPERIMENT, "tracking": {"name": "mlflow", "uri": live}}), run_dir).verdict
    assert first.survivors == (first.winner.id,)
    rule = {"name": "significance", "warmup": 3, "max_instances": 8}
    verdict = resume(run_dir, {"rule": rule}).verdict
    assert len(verdict.survivors) > 1, "the second rule keeps what the first had cut"
    held = shown(live)
    for (id_, seed), (_, status, values) in held.items():
        if id_ and not seed:
            left = "survivor" if id_ in verdict.survivors else "eliminated"
            assert status == ("winner" if id_ == verdict.winner.id else left)
            if id_ in verdict.survivors:
                assert values["n_instances"][1] == 8
    assert verdict.confirmation is not None
    points = image(live, "synced", with_ids=False)[verdict.winner.id, ""]["points"]
    last = {name: points[name][-1][1] for name in ("criterion", "confirmation_criterion")}
    assert last == {"criterion": verdict.race.criterion, "confirmation_criterion": verdict.confirmation.criterion}
    sync(run_dir, {"tracking.uri": fresh})
    assert shown(fresh) == held
    before = image(live, "synced", with_ids=True)
    sync(run_dir)
    assert image(live, "synced", with_ids=True) == before


def test_a_failure_taken_back_and_not_asked_for_again_stays(tmp_path: Path, make_store: Callable[..., str]) -> None:
    live, fresh, disk = make_store(tmp_path, "live.db"), make_store(tmp_path, "fresh.db"), tmp_path / "disk"

    def train(config: dict[str, Any], seed: int) -> float:
        phase, index = Seeds(0).index(seed)
        if not disk.exists() and (config["x"] == 1 or (phase is Phase.CONFIRMATION and index == 1)):
            raise OSError("the dataset is not there")
        return config["x"] + seed % 7 / 1000

    run_dir = tmp_path / "run"
    first = search(
        train,
        space={"x": [1, 2]},
        rule={"name": "halving", "warmup": 2},
        confirm=3,
        retries=0,
        run_dir=run_dir,
        execution="local",
        tracking={"name": "mlflow", "uri": live, "experiment": "synced"},
        progress=False,
    ).verdict
    assert first.winner.parameters == {"x": 2}
    disk.touch()
    assert resume(run_dir, retry_failed=True, workload=train).verdict.winner.parameters == {"x": 1}
    sync(run_dir, {"tracking.uri": fresh})
    held = shown(live)
    assert shown(fresh) == held
    failed = [key for key, (status, _, _) in held.items() if status == "FAILED"]
    assert failed == [(first.winner.id, str(Seeds(0).seed(Phase.CONFIRMATION, 1)))]


def test_a_damaged_journal_is_refused_before_the_store_is_touched(
    tmp_path: Path, make_store: Callable[..., str]
) -> None:
    store, run_dir = make_store(tmp_path), tmp_path / "run"
    run(from_data({**EXPERIMENT, "tracking": {"name": "mlflow", "uri": store}}), run_dir)
    before, place = image(store, "synced", with_ids=True), (run_dir / "mlflow.json").read_bytes()
    journal = run_dir / "journal.jsonl"
    whole, last = journal.read_text(), list(read(journal))[-1]["t"]
    for damage in (
        {"event": "ask", "configuration": "0123456789ab", "seeds": [1], "phase": "race"},
        {"event": "measure", "measure": "calibration", "configuration": "0123456789ab", "seed": 1, "numbers": {}},
    ):
        journal.write_text(whole + json.dumps({**damage, "t": last}) + "\n")
        with pytest.raises(JournalError, match=damage["event"]):
            sync(run_dir)
        assert image(store, "synced", with_ids=True) == before
        assert (run_dir / "mlflow.json").read_bytes() == place
