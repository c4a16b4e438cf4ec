"""Whatever happened to a search, MLflow shows the same whether it watched or was told afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow_image import image, stores
from people import Person

from raysearch.driver.resume import resume
from raysearch.driver.run import run
from raysearch.driver.sync import sync
from raysearch.execution import steering
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import read

PUT_RIGHT = ("survivors", "incumbent", "cutoff", "round", "criterion_at_cut")


@pytest.fixture(scope="module")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    return stores(tmp_path_factory.mktemp("store"))


def drawn(seed: int, folder: Path) -> tuple[dict[str, Any], list[tuple[dict[str, Any], bool]]]:
    """An experiment in which anything may happen, and how it goes on: (changed settings, retry what failed)."""
    g = np.random.default_rng(seed)
    (folder / "marks").mkdir()
    screen = {"rule": "median", "n_startup": 2} if g.random() < 0.5 else None
    workload = {
        "name": "synthetic",
        "epochs": 4,
        "fail": float(g.choice([0.0, 0.2, 0.5])),
        "fail_once_in": str(folder / "marks"),
    }
    experiment = {
        "name": "synced",
        "seed": seed,
        "workload": workload,
        "space": {"level": {"low": 0.0, "high": 1.0}, "diverging": [0.0, 0.1]},
        "sampler": {"name": "random", "n_configurations": int(g.integers(4, 9))},
        "criterion": str(g.choice(["q3", "median", "mean"])),
        "rule": {"name": "halving", "warmup": int(g.integers(1, 4))},
        "race": {"confirm": 2, "retries": int(g.integers(0, 2)), "screen": screen, "block": int(g.integers(1, 3))},
        "execution": "local",
    }
    later: list[tuple[dict[str, Any], bool]] = [
        ({}, True),
        ({"sampler.n_configurations": 12}, False),
        ({"rule": {"name": "exhaustive", "n_instances": 5}}, False),
        ({"race.confirm": 4}, False),
    ]
    order = g.permutation(len(later))[: max(0, g.integers(-3, 4))]
    return experiment, [later[i] for i in order]


def told(uri: str, went_on: bool) -> dict[Any, Any]:
    """All that MLflow shows of every run, and when it happened, but for what names the store itself.

    Of a search that went on, only what stands at the end is compared: what a later rule or another try put right was
    shown before (rounds, cutoffs, a former winner's confirmation, times, the settings of the first driver), MLflow
    takes none of it back, and `sync` does not tell it again.
    """
    held = image(uri, "synced", with_ids=True)
    for run_ in held.values():
        info = run_.pop("info")
        run_["name"] = info["run_name"]
        if went_on:
            run_["points"] = {name: p[-1][:2] for name, p in run_["points"].items() if name not in PUT_RIGHT}
            if run_["tags"]["kind"] == "configuration" and run_["tags"]["status"] != "winner":  # it may have won before
                own = {name for name in run_["points"] if name.startswith("confirmation_")} | {"test_median"}
                run_["points"] = {name: p for name, p in run_["points"].items() if name not in own}
            run_["params"] = run_["params"] if run_["tags"]["kind"] != "search" else {}
        else:
            run_["times"] = info["start_time"], info["end_time"]
        tags = run_["tags"]
        own = ("mlflow.parentRunId", "raysearch.model", "mlflow.log-model.history")
        run_["tags"] = {name: value for name, value in tags.items() if name not in own and value != ""}
        run_["params"].pop("tracking.uri", None)
    return held


@pytest.mark.parametrize(
    "seed", [pytest.param(0, marks=pytest.mark.long), 2, 7, 11]
)  # extended and retried; screened; another rule; failing and screened
def test_mlflow_shows_the_same_live_and_synced(
    seed: int, tmp_path: Path, make_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "_LOOK_EVERY_S", 0.0)
    people = [Person("drop")] if seed % 2 else []
    live, fresh = make_store(tmp_path, "live.db"), make_store(tmp_path, "fresh.db")
    experiment, later = drawn(seed, tmp_path)
    tracking = {"name": "mlflow", "uri": live, "weights": "none"}
    run(from_data({**experiment, "tracking": tracking}), tmp_path / "run", watchers=people)
    for values, retry_failed in later:
        if retry_failed:
            shutil.rmtree(tmp_path / "marks")  # some fail again
            (tmp_path / "marks").mkdir()
        resume(tmp_path / "run", values, retry_failed=retry_failed)
    sync(tmp_path / "run", {"tracking.uri": fresh})
    shown, filled = told(live, bool(later)), told(fresh, bool(later))
    assert filled.keys() == shown.keys()
    for key, held in shown.items():
        assert filled[key] == held, key
    dropped = [one["tags"]["dropped"] for one in shown.values() if "dropped" in one["tags"]]
    assert dropped == ["dropped by a person: too large (ada)"] * len(people)
    assert len(shown) > sum(line["event"] == "tell" for line in read(tmp_path / "run" / "journal.jsonl")) / 2
