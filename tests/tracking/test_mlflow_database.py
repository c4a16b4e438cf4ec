"""MLflow's tables written directly: the same as by its client, in one transaction, and asked in few requests."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow_image import image
from sqlalchemy import event
from sqlalchemy.engine import Engine

from raysearch.driver import run
from raysearch.driver.sync import sync
from raysearch.experiment.experiment import from_data
from raysearch.records import InstanceKey, Phase
from raysearch.storage.journal import read
from raysearch.tracking import _mlflow_database as database
from raysearch.tracking import _writer
from raysearch.tracking.mlflow import Mlflow

pytestmark = pytest.mark.mlflow


def test_the_installed_mlflow_has_the_tables_that_are_known() -> None:
    assert database.tables_are_known()


def test_a_database_of_unknown_tables_is_left_to_the_client(
    make_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = make_store(tmp_path)
    assert database.Database.of(uri) is not None
    assert database.Database.of("http://127.0.0.1:1") is None
    assert database.Database.of(str(tmp_path / "a_directory")) is None
    monkeypatch.setattr(database, "tables_are_known", lambda: False)
    assert database.Database.of(uri) is None


def test_tables_and_client_write_the_same(
    make_store: Any, make_race: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = []
    for way in ("tables", "client"):
        folder = tmp_path / way
        folder.mkdir()
        uri = make_store(folder)
        if way == "client":
            monkeypatch.setattr(database.Database, "of", lambda uri: None)
        tracker = Mlflow(uri=uri, weights="all")
        for _ in range(2):  # told again, all is found
            tracker.at(1.7e9)
            make_race().run(tracker, folder)
            images.append(image(uri, "small", with_ids=True))
    assert without_chance(images[0]) == without_chance(images[1])
    assert without_chance(images[2]) == without_chance(images[0])


def without_chance(held: dict[Any, Any]) -> dict[Any, Any]:
    """Return the image of a store without ids that are drawn by chance."""
    for one in held.values():
        for name in ("mlflow.parentRunId", "raysearch.run"):
            one["tags"].pop(name, None)
        for name in ("run_id", "run_uuid", "artifact_uri"):
            one.get("info", {}).pop(name, None)
    return held


@pytest.fixture
def story(make_store: Any, make_race: Any, tmp_path: Path) -> Callable[[], tuple[Any, Any]]:
    """Tell a small race to a store; return the tracker and what the store holds."""

    def tell() -> tuple[Any, Any]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        uri = make_store(folder)
        tracker = Mlflow(uri=uri, curves=False)
        make_race().run(tracker, folder)
        return tracker, without_chance(image(uri, "small", with_ids=False))

    return tell


@pytest.mark.parametrize("written", [False, True], ids=["rolled back", "written, and not said so"])
@pytest.mark.parametrize("at", [4, 6, 9])
def test_a_transaction_that_fails_is_carried_out_again_and_nothing_is_there_twice(
    story: Any, monkeypatch: pytest.MonkeyPatch, written: bool, at: int
) -> None:
    monkeypatch.setattr(_writer, "MOST_TOGETHER", 7)
    _, calm = story()
    write, n = database.Database.write, 0

    def fail(self: Any, changes: Any) -> None:
        nonlocal n
        n += 1
        if n != at or written:
            write(self, changes)
        if n == at:
            raise MlflowException("the answer is lost")

    monkeypatch.setattr(database.Database, "write", fail)
    tracker, held = story()
    assert n > at
    assert tracker.n_lost == 0
    assert held == calm


def test_of_records_that_are_written_together_only_the_refused_one_is_lost(
    make_store: Any, make_race: Any, tmp_path: Path
) -> None:
    """Its run was deleted by a user."""
    uri, race = make_store(tmp_path), make_race()
    tracker = Mlflow(uri=uri)
    tracker.open({"name": "small"}, tmp_path)
    race.train(tracker, race.configurations[0], 0)
    tracker.close()
    gone = next(key for key in image(uri, "small", with_ids=True).items() if key[0] == (race.configurations[0].id, ""))
    from mlflow import MlflowClient

    again = Mlflow(uri=uri)
    again.open({"name": "small"}, tmp_path)
    MlflowClient(uri).delete_run(gone[1]["info"]["run_id"])
    for configuration in race.configurations[1:4]:
        race.train(again, configuration, 0)
    again.measured(race.configurations[0], None, {"ece.mean": 0.1})
    race.train(again, race.configurations[4], 0)
    again.close()
    assert again.n_lost == 1
    held = image(uri, "small", with_ids=False)
    assert {id_ for id_, seed in held if seed} == {one.id for one in race.configurations[:5]}


def test_a_point_is_not_written_twice_and_the_latest_is_shown(make_store: Any, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = make_store(tmp_path)
    client, tables = MlflowClient(uri), database.Database.of(uri)
    assert tables is not None
    run_id = client.create_run("0").info.run_id
    points = [(2, 10, 0.5), (1, 20, 0.7), (2, 10, 0.5), (2, 5, 0.9), (3, 1, math.nan), (3, 1, math.inf)]
    for n in (2, 4, 6, 6):
        change = database.Change(metrics=[Metric("loss", value, at, step) for step, at, value in points[:n]])
        tables.write({run_id: change})
        by_client = client.create_run("0").info.run_id
        client.log_batch(by_client, change.metrics)
        seen = [
            (str(client.get_run(id_).data.metrics), sorted(str((p.step, p.timestamp, p.value)) for p in history))
            for id_ in (run_id, by_client)
            if (history := client.get_metric_history(id_, "loss"))
        ]
        assert seen[0] == seen[1]
    tables.write({run_id: database.Change(params={"a": "1"})})
    with pytest.raises(MlflowException, match="not allowed: a was logged with value '1', now '2'"):
        tables.write({run_id: database.Change(params={"a": "2"}, tags={"b": "3"})})
    assert "b" not in client.get_run(run_id).data.tags, "all or nothing"


@contextmanager
def statements() -> Iterator[list[str]]:
    """Gather what all databases are asked meanwhile."""
    heard: list[str] = []

    def hear(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith("PRAGMA"):
            heard.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def test_a_sync_that_finds_all_there_asks_as_little_of_a_long_search_as_of_a_short_one(
    make_store: Any, tmp_path: Path
) -> None:
    asked, held = {}, {}
    for n in (4, 32):
        folder = tmp_path / str(n)
        folder.mkdir()
        uri = make_store(folder)
        experiment = {
            "name": "synced",
            "workload": {"name": "synthetic", "epochs": 2},
            "space": {"level": [0.2 + 0.1 * i for i in range(n)], "spread": [0.01]},
            "rule": {"name": "halving", "warmup": 2},
            "race": {"confirm": 2},
            "execution": "local",
            "tracking": {"name": "mlflow", "uri": uri},
        }
        run(from_data(experiment), folder / "run")
        before = image(uri, "synced", with_ids=True)
        with statements() as heard:
            sync(folder / "run")
        asked[n], held[n] = heard, sum(event["event"] == "tell" for event in read(folder / "run" / "journal.jsonl"))
        changed = [one for one in heard if not one.startswith("SELECT")]
        assert len(changed) <= 4, changed  # the search's own run is taken up and ended
        after = image(uri, "synced", with_ids=True)
        after["", ""]["info"], before["", ""]["info"] = {}, {}
        assert after == before
    assert held[32] > held[4] + 60
    assert len(asked[32]) <= len(asked[4]) + 2, asked[32]
    assert len(asked[32]) < 120


def test_instances_told_at_once_are_written_in_few_transactions(
    make_store: Any, make_race: Any, tmp_path: Path
) -> None:
    race, tracker = make_race(n=1), Mlflow(uri=make_store(tmp_path), curves=False)
    tracker.open({"name": "small"}, tmp_path)
    result = race.result(race.configurations[0], 0)
    with statements() as heard:
        for seed in range(500):
            one = dataclasses.replace(result, key=InstanceKey(result.key.configuration_id, seed))
            tracker.told(race.configurations[0], one, Phase.RACE)
        tracker.close()
    assert tracker.n_lost == 0
    assert sum("INSERT INTO runs" in one for one in heard) < 50


def test_runs_are_ordered_by_a_metric_without_comparing_each_with_each(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    made = database.Database.of(uri)
    assert made is not None
    store = SqlAlchemyStore(uri, str(tmp_path))
    experiment = store.create_experiment("large")
    for first in range(0, 600, 100):
        some = {
            f"{n:032x}": database.Change(
                made.made(f"{n:032x}", experiment, n, "a"),
                tags={"kind": "configuration"},
                metrics=[Metric("criterion", float(n), n, 0)],
            )
            for n in range(first, first + 100)
        }
        made.write(some)
    said: list[tuple[str, Any]] = []
    event.listen(store.engine, "after_cursor_execute", lambda c, cursor, text, values, *_: said.append((text, values)))
    found = store.search_runs(
        [experiment], "tags.kind = 'configuration'", ViewType.ACTIVE_ONLY, 5, ["metrics.`criterion` ASC"]
    )
    assert [run.data.metrics["criterion"] for run in found] == [0, 1, 2, 3, 4]
    text, values = next((text, values) for text, values in said if "LIMIT" in text and "anon_1" in text)
    with store.engine.begin() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
    assert any("SEARCH anon_1" in step for step in plan), plan
