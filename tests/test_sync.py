"""`raysearch sync`: MLflow equals the journal, whatever the tracking server missed; twice in a row changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow_image import image
from mlflow_server import Server
from typer.testing import CliRunner

from raysearch import cli
from raysearch.driver import run
from raysearch.driver.resume import resume
from raysearch.driver.search import search
from raysearch.driver.sync import sync
from raysearch.errors import ExperimentError, JournalError, TrackingError
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import Journal, read
from raysearch.workloads.digits import Digits

EXPERIMENT = {
    "name": "synced",
    "seed": 5,
    "workload": {"name": "synthetic", "epochs": 3, "fail": 0.2},
    "space": {"level": [0.2, 0.3, 0.4, 0.5], "diverging": [0.0, 0.2]},
    "criterion": "q3",
    "rule": {"name": "halving", "warmup": 2},
    "race": {"confirm": 3, "retries": 1},
    "execution": "local",
}


SCREENED = {
    "workload": {"name": "synthetic", "epochs": 3},
    "space": {"level": [0.2, 0.3, 0.9, 0.8, 0.7], "spread": [0.01]},
    "race": {"confirm": 2, "screen": {"rule": "median", "n_startup": 2}},
}
UNDECIDED = {
    "workload": "synthetic",
    "space": {"level": [0.2, 0.201, 0.202], "spread": [0.1]},
    "rule": {"name": "significance", "warmup": 3, "max_instances": 5},
}


RETRIED = {"workload": {"name": "synthetic", "epochs": 3, "fail": 0.4, "fail_once_in": "marks"}}


@pytest.mark.parametrize(
    "sections", [{}, SCREENED, UNDECIDED, RETRIED], ids=["halving", "screened", "undecided", "retried"]
)
def test_an_empty_store_is_filled_with_what_the_live_tracker_wrote(
    tmp_path: Path, make_store: Callable[..., str], sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("marks").mkdir()
    live, fresh = make_store(tmp_path, "live.db"), make_store(tmp_path, "fresh.db")
    tracking = {"name": "mlflow", "uri": live}
    result = run(from_data({**EXPERIMENT, **sections, "tracking": tracking}), tmp_path / "run")
    wrote = image(live, "synced", with_ids=False)
    n = sync(tmp_path / "run", {"tracking.uri": fresh})
    filled = image(fresh, "synced", with_ids=False)
    assert n == sum(bool(seed) for _, seed in filled) > 5
    search = ("", "")
    for held in (wrote, filled):  # the address of the store is a parameter of the search
        held[search]["params"].pop("tracking.uri")
        held[search]["points"] = {name: {p[0] for p in points} for name, points in held[search]["points"].items()}
    rounds = filled[search]["points"].get("survivors", set())
    statuses = {id_: held["tags"]["status"] for (id_, seed), held in wrote.items() if id_ and not seed}
    left = {id_ for id_, status in statuses.items() if status in ("survivor", "winner")}
    assert left == set(result.verdict.survivors)
    for id_ in left:
        assert {"criterion", "median", "q3", "iqr", "max", "n_instances"} <= set(wrote[id_, ""]["points"])
    if sections is SCREENED:
        out = {
            event["configuration"] for event in read(tmp_path / "run" / "journal.jsonl") if event["event"] == "screen"
        }
        assert out
        assert {statuses[id_] for id_ in out} == {"eliminated"}
    if sections is UNDECIDED:
        assert left == set(statuses), "no cut at all"
    if sections is RETRIED:
        attempts = [points["attempt"] for held in wrote.values() if "attempt" in (points := held["points"])]
        assert len(attempts) > 5
        assert "FAILED" not in {held["status"] for held in wrote.values()}, "each succeeds at the second attempt"
    if not sections:
        assert rounds == {3, 4, 5}
    assert filled.keys() == wrote.keys()
    for key, held in wrote.items():
        assert filled[key] == held, key
    once = image(fresh, "synced", with_ids=True)
    sync(tmp_path / "run", {"tracking.uri": fresh})
    assert image(fresh, "synced", with_ids=True) == once


def test_a_search_that_broke_off_is_synced_as_far_as_it_went(tmp_path: Path, make_store: Callable[..., str]) -> None:
    store = make_store(tmp_path)
    experiment = {**EXPERIMENT, "tracking": {"name": "mlflow", "uri": store}}
    run(from_data({**experiment, "tracking": None}), tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    for _ in range(2):
        result = CliRunner().invoke(
            cli.app, ["sync", str(tmp_path / "run"), "--set", f"tracking={{name: mlflow, uri: '{store}'}}"]
        )
        assert result.exit_code == 0, result.output
        held = image(store, "synced", with_ids=True)
        told = [event for event in read(journal) if event["event"] == "tell"]
        assert f"{len(told)} instances" in result.output
        assert sum(bool(seed) for _, seed in held) == len(told)
        assert held["", ""]["status"] == "KILLED"


def test_what_is_synced_late_bears_the_times_of_the_journal(tmp_path: Path, make_store: Callable[..., str]) -> None:
    run(from_data({**EXPERIMENT, "tracking": None}), tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    long_ago = [{**event, "t": event["t"] - 1e6} for event in read(journal)]
    journal.write_text("".join(json.dumps(event) + "\n" for event in long_ago))
    store = make_store(tmp_path)
    sync(tmp_path / "run", {"tracking": {"name": "mlflow", "uri": store}})
    held = image(store, "synced", with_ids=True)
    ended = {(e["configuration"], str(e["seed"])): 1000 * e["t"] for e in long_ago if e["event"] == "tell"}
    for key, end_ms in ended.items():
        assert held[key]["info"]["end_time"] == pytest.approx(end_ms, abs=1)
    whole = held["", ""]["info"]
    assert whole["start_time"] == pytest.approx(1000 * long_ago[0]["t"], abs=1)
    assert whole["end_time"] == pytest.approx(1000 * long_ago[-1]["t"], abs=1)


def test_a_retried_instance_is_shown_as_it_ended_at_last(tmp_path: Path, make_store: Callable[..., str]) -> None:
    store, disk = make_store(tmp_path), tmp_path / "disk"

    def train(config: dict[str, Any], seed: int) -> float:
        if config["x"] == 2 and not disk.exists():
            raise OSError("the dataset is not there")
        return 1 / config["x"] + seed % 7 / 1000

    mlflow = {"name": "mlflow", "uri": store, "experiment": "synced"}
    common = {"space": {"x": [1, 2]}, "rule": {"name": "halving", "warmup": 2}, "confirm": 1, "retries": 0}
    search(train, run_dir=tmp_path / "run", execution="local", tracking=mlflow, progress=False, **common)
    failed = {key for key, held in image(store, "synced", with_ids=True).items() if held["status"] == "FAILED"}
    assert len(failed) == 2
    disk.touch()
    resume(tmp_path / "run", retry_failed=True, workload=train)
    held = image(store, "synced", with_ids=True)
    for key in failed:
        assert (held[key]["status"], held[key]["tags"]["status"]) == ("FINISHED", "COMPLETE")
        assert held[key]["tags"]["error"] == ""
        assert held[key]["points"]["final_loss"][-1][1] == pytest.approx(0.5, abs=0.01)
    whole = held[min(failed)[0], ""]["points"]
    assert [value for step, value, _ in whole["criterion"] if step == 2] == ["nan", pytest.approx(0.5, abs=0.01)]
    assert [value for step, value, _ in whole["n_instances"] if step == 2] == [2.0], "it stood, and gained no point"
    sync(tmp_path / "run")
    assert image(store, "synced", with_ids=True) == held


def test_what_the_tracker_refuses_is_an_error_and_not_passed_over(
    tmp_path: Path, make_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(from_data({**EXPERIMENT, "tracking": None}), tmp_path / "run")
    store = make_store(tmp_path)
    refusal = "before insert on metrics when new.key = 'incumbent' begin select raise(abort, 'quota'); end"
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute(f"create trigger quota {refusal}")
    with pytest.raises(TrackingError, match=r"^3 records could not be written .* sync again"):
        sync(tmp_path / "run", {"tracking": {"name": "mlflow", "uri": store}})


def test_a_search_without_tracker_or_with_a_driver_is_refused(tmp_path: Path) -> None:
    run(from_data({**EXPERIMENT, "tracking": None}), tmp_path / "run")
    with pytest.raises(ExperimentError, match="no tracker"):
        sync(tmp_path / "run")
    with Journal(tmp_path / "run" / "journal.jsonl"), pytest.raises(JournalError, match="another raysearch driver"):
        sync(tmp_path / "run", {"tracking": "mlflow"})


@dataclass(frozen=True)
class _Fragile(Digits):
    """Digits whose every third training crashes, whoever tries it; `before` is called before each."""

    before: Callable[[], None] = lambda: None

    def train(self, configuration: Any, seeds: Any, report: Any, data: Any) -> Any:
        self.before()
        if sum(map(ord, f"{configuration.id}{seeds[0]}")) % 3 == 0:
            raise ArithmeticError(f"seed {seeds[0]} is unlucky")
        return super().train(configuration, seeds, report, data)


@pytest.fixture
def server(tmp_path: Path, make_store: Callable[..., str]) -> Iterator[Server]:
    make_store(tmp_path)
    server = Server(tmp_path)
    yield server
    server.kill()


@pytest.mark.long
def test_a_server_killed_in_mid_run_gets_the_rest_by_sync(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient

    run_dir = tmp_path / "run"
    experiment = from_data(
        {
            **EXPERIMENT,
            "workload": {"name": "digits", "epochs": 2, "n_train": 200},
            "space": {"hidden": [[8], [12], [16], [24]], "optimizer": ["AdamW"], "lr": [0.01], "batch_size": [32]},
            "tracking": {"name": "mlflow", "uri": server.uri, "timeout_s": 2},
        }
    )

    def kill_in_mid_run() -> None:
        if (run_dir / "journal.jsonl").read_bytes().count(b'"event":"tell"') == 5:
            server.kill()

    result = run(experiment, run_dir, workload=_Fragile(epochs=2, n_train=200, before=kill_in_mid_run))
    assert result.verdict.confirmation is not None, "the race ended, and confirmed its winner"
    assert "raysearch sync" in caplog.text
    told = {(e["configuration"], str(e["seed"])): e for e in read(run_dir / "journal.jsonl") if e["event"] == "tell"}
    assert {event["status"] for event in told.values()} == {"COMPLETE", "FAILED"}

    server.__init__(server.folder, server.port)  # type: ignore[misc]
    assert sync(run_dir) == len(told)
    held = image(server.uri, "synced", with_ids=True)
    assert {key for key in held if key[1]} == set(told)
    client = MlflowClient(server.uri)
    for key, event in told.items():
        failed = event["status"] == "FAILED"
        assert held[key]["tags"]["status"] == event["status"]
        assert ("error.txt" in held[key]["files"]) == failed
        if failed:
            path = client.download_artifacts(held[key]["info"]["run_id"], "error.txt", str(tmp_path))
            assert "Traceback" in Path(path).read_text()
            assert "is unlucky" in Path(path).read_text()
        else:
            assert held[key]["points"]["final_loss"][0][1] == event["loss"]
    assert held["", ""]["status"] == "FINISHED"
    assert {"report.html", "instances.parquet", "verdict.json"} <= set(held["", ""]["files"])

    assert sync(run_dir) == len(told)
    assert image(server.uri, "synced", with_ids=True) == held
    assert len(client.search_model_versions("name = 'synced'")) == 1
