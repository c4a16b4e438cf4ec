"""MLflow: what a search looks like there, and that writing twice changes nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from mlflow_image import KINDS, runs_of

from raysearch.errors import TrackingError
from raysearch.records import Phase, Status
from raysearch.tracking.mlflow import Mlflow


@pytest.fixture(scope="module")
def told(make_race: Any, make_store: Any, tmp_path_factory: Any) -> dict[str, Any]:
    """One whole search in a fresh sqlite store, and its runs by kind."""
    folder = tmp_path_factory.mktemp("search")
    tracker, race = Mlflow(uri=make_store(folder)), make_race()
    verdict = race.run(tracker, folder)
    return {"tracker": tracker, "race": race, "verdict": verdict, "folder": folder, **runs_of(folder)}


def test_every_configuration_and_instance_has_its_run(told: dict[str, Any]) -> None:
    race = told["race"]
    assert len(told["search"]) == 1
    assert {run.data.tags["raysearch.configuration"] for run in told["configuration"]} == {
        configuration.id for configuration in race.configurations
    }
    keys = {(r.data.tags["raysearch.configuration"], int(r.data.tags["raysearch.seed"])) for r in told["instance"]}
    assert keys == {(key.configuration_id, key.seed) for key in race.results}
    assert len(told["instance"]) == len(race.results)
    assert (told["tracker"].backlog, told["tracker"].n_lost) == (0, 0)


def test_instances_nest_under_their_configuration(told: dict[str, Any]) -> None:
    parents = {run.info.run_id: run.data.tags["raysearch.configuration"] for run in told["configuration"]}
    for run in told["instance"]:
        assert parents[run.data.tags["mlflow.parentRunId"]] == run.data.tags["raysearch.configuration"]


def test_an_instance_has_its_parameters_losses_and_times(told: dict[str, Any]) -> None:
    results = {(key.configuration_id, key.seed): result for key, result in told["race"].results.items()}
    for run in told["instance"]:
        configuration, seed = run.data.params["configuration"], run.data.params["seed"]
        result = results[configuration, int(seed)]
        assert run.data.tags["status"] == str(result.status)
        assert run.data.params["phase"] == ("confirmation" if int(seed) >= 1000 else "race")
        assert {"conv", "lr", "net.depth"} <= set(run.data.params)
        assert run.info.end_time - run.info.start_time == round(1000 * result.seconds)
        if result.status is Status.COMPLETE:
            assert run.data.metrics["final_loss"] == result.loss
            assert run.data.metrics["test_loss"] == result.test_loss
            assert run.data.metrics["ece"] == 0.1
            assert run.data.params["node"] == "10.0.0.1"
            assert run.info.status == "FINISHED"


def test_the_loss_curve_is_a_metric_and_a_table(told: dict[str, Any]) -> None:
    run = next(run for run in told["instance"] if run.data.tags["status"] == "COMPLETE")
    key = (run.data.params["configuration"], int(run.data.params["seed"]))
    curve = next(r.curve for k, r in told["race"].results.items() if (k.configuration_id, k.seed) == key)
    points = told["client"].get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == list(enumerate(curve, start=1))
    table = Path(told["client"].download_artifacts(run.info.run_id, "loss_curve.csv")).read_text().splitlines()
    assert table[0] == "epoch,loss"
    assert len(table) == len(curve) + 1


def test_diverged_and_failed_instances_stay_visible(told: dict[str, Any]) -> None:
    by_status = {run.data.tags["status"]: run for run in told["instance"]}
    diverged, failed = by_status["DIVERGED"], by_status["FAILED"]
    assert diverged.info.status == "FINISHED"
    assert math.isnan(diverged.data.metrics["final_loss"]), "+inf would be 1.8e308 in MLflow's charts"
    assert len(told["client"].get_metric_history(diverged.info.run_id, "loss")) == 3, "the finite epochs"
    assert failed.info.status == "FAILED"
    assert failed.data.metrics["attempt"] == 3
    assert failed.data.tags["error"] == "ValueError: bad shape (3, 4)"
    error = Path(told["client"].download_artifacts(failed.info.run_id, "error.txt")).read_text()
    assert error.startswith("Traceback")


def test_a_configuration_shows_its_rounds_and_its_end(told: dict[str, Any]) -> None:
    eliminations = {id_: cut for cut in told["race"].eliminations for id_ in cut.configurations}
    for run in told["configuration"]:
        configuration = run.data.tags["raysearch.configuration"]
        rounds = [point.step for point in told["client"].get_metric_history(run.info.run_id, "criterion")]
        assert rounds == list(range(1, len(rounds) + 1))
        assert run.info.status == "FINISHED"
        if configuration == told["verdict"].winner.id:
            assert run.data.tags["status"] == "winner"
            assert run.data.metrics["confirmation_criterion"] == told["verdict"].confirmation.criterion
            assert run.data.metrics["confirmation_n_instances"] == 5
            assert run.data.metrics["q3"] == told["verdict"].race.q3
        else:
            event = eliminations[configuration]
            assert run.data.tags["status"] == "eliminated"
            assert run.data.metrics["round"] == event.round == rounds[-1]
            assert run.data.metrics["cutoff"] == event.cutoff
    assert {"conv", "lr", "net.depth", "configuration"} == set(told["configuration"][0].data.params)


def test_the_search_run_carries_the_verdict_and_the_report(told: dict[str, Any]) -> None:
    run, client = told["search"][0], told["client"]
    assert run.data.params["rule.name"] == "halving"
    assert run.data.metrics["n_exhaustive"] == 400
    assert run.data.metrics["confirmation_median"] == told["verdict"].confirmation.median
    assert run.data.tags["winner"] == told["verdict"].winner.id in run.data.tags["mlflow.note.content"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "experiment.json",
        "report.html",
        "verdict.json",
    }
    verdict = json.loads(Path(client.download_artifacts(run.info.run_id, "verdict.json")).read_text())
    assert verdict["winner"]["id"] == told["verdict"].winner.id
    assert [point.step for point in client.get_metric_history(run.info.run_id, "survivors")] == [1, 2, 3, 4]


def test_only_the_winner_keeps_weights(told: dict[str, Any]) -> None:
    winner = told["verdict"].winner.id
    for run in told["instance"]:
        files = {file.path for file in told["client"].list_artifacts(run.info.run_id)}
        assert ("weights.safetensors" in files) == (run.data.params["configuration"] == winner)
    confirmation = next(run for run in told["instance"] if run.data.params["phase"] == "confirmation")
    content = Path(told["client"].download_artifacts(confirmation.info.run_id, "weights.safetensors")).read_bytes()
    assert content == f"{winner} {confirmation.data.params['seed']}".encode()
    assert [folder.name for folder in (told["folder"] / "weights").iterdir()] == [winner]


def test_the_description_links_views_that_mlflow_can_answer(told: dict[str, Any]) -> None:
    tags, client = told["experiment"].tags, told["client"]
    views = re.findall(r"viewStateShareKey=(\w+)", tags["mlflow.note.content"])
    assert len(set(views)) == 6
    counts = {}
    for view in views:
        state = json.loads(tags[f"mlflow.sharedViewState.{view}"])
        direction = "ASC" if state["orderByAsc"] else "DESC"
        order = [f"{state['orderByKey']} {direction}"]
        found = client.search_runs([told["experiment"].experiment_id], state["searchFilter"], order_by=order)
        counts[view] = len(found)
        for column in state["selectedColumns"]:
            group, name = re.fullmatch(r"(\w+)\.`(.+)`", column).groups()  # type: ignore[union-attr]
            assert any(name in getattr(run.data, group) for run in found), f"{view}: no run has {column}"
    assert counts["configurations"] == 8
    assert counts["survivors"] == 1
    assert counts["eliminated"] == 7
    assert counts["failed"] == 2


def test_the_place_is_left_in_the_run_directory(told: dict[str, Any]) -> None:
    place = json.loads((told["folder"] / "mlflow.json").read_text())
    assert place["experiment"] == "small"
    assert told["search"][0].data.tags["raysearch.run"] == place["search"]
    assert told["tracker"].address.startswith("mlflow ui --backend-store-uri sqlite:///")


def snapshot(folder: Path) -> list[Any]:
    """Everything of every run but the time of the last change."""
    found = runs_of(folder)
    rows = []
    for kind in KINDS:
        for run in found[kind]:
            history = {
                name: [
                    (p.step, repr(p.value), p.timestamp)
                    for p in found["client"].get_metric_history(run.info.run_id, name)
                ]
                for name in sorted(run.data.metrics)
            }
            files = sorted(file.path for file in found["client"].list_artifacts(run.info.run_id))
            rows.append(
                (run.info.run_id, run.info.status, run.info.end_time, run.data.params, run.data.tags, history, files)
            )
    return sorted(rows, key=lambda row: str(row[0]))


def test_telling_all_again_changes_nothing(make_race: Any, make_store: Any, tmp_path: Path) -> None:
    uri = make_store(tmp_path)
    make_race(n=4, confirm=2).run(Mlflow(uri=uri), tmp_path)
    before = [(*row[:2], *row[3:]) for row in snapshot(tmp_path)]
    make_race(n=4, confirm=2).run(Mlflow(uri=uri), tmp_path)
    after = [(*row[:2], *row[3:]) for row in snapshot(tmp_path)]
    assert after == before


def test_a_search_that_broke_off_is_completed(make_race: Any, make_store: Any, tmp_path: Path) -> None:
    """As after a SIGKILL: some runs are there, one of them open and empty, one without its metrics."""
    uri = make_store(tmp_path)
    first, race = Mlflow(uri=uri), make_race(n=4, confirm=2)
    first.open({"name": "small"}, tmp_path)
    for configuration in race.configurations[:2]:
        race.train(first, configuration, 0)
    first.close()
    broken = runs_of(tmp_path)
    assert broken["search"][0].info.status == "KILLED"
    client, victim = broken["client"], broken["configuration"][0]
    half_written = [
        client.create_run(
            broken["experiment"].experiment_id,
            tags={
                "kind": "instance",
                "mlflow.parentRunId": victim.info.run_id,
                "raysearch.run": victim.data.tags["raysearch.run"],
                "raysearch.configuration": configuration.id,
                "raysearch.seed": "1",
            },
        )
        for configuration in race.configurations[:2]
    ]
    # MLflow keeps the parameters of a batch before its metrics: a server may die between
    client.log_param(half_written[1].info.run_id, "configuration", race.configurations[1].id)
    whole = make_race(n=4, confirm=2)
    whole.run(Mlflow(uri=uri), tmp_path)
    found = runs_of(tmp_path)
    assert len(found["search"]) == 1
    assert found["search"][0].info.status == "FINISHED"
    assert len(found["configuration"]) == 4
    assert len(found["instance"]) == len(whole.results)
    assert all("seconds" in run.data.metrics for run in found["instance"])


def test_an_extended_search_may_crown_another_winner(make_race: Any, make_store: Any, tmp_path: Path) -> None:
    uri, race = make_store(tmp_path), make_race(n=4, confirm=1)
    first = race.run(Mlflow(uri=uri), tmp_path)
    other = next(c for c in race.configurations if c.id != first.winner.id)
    tracker = Mlflow(uri=uri)
    tracker.open({"name": "small"}, tmp_path)
    tracker.finished(dataclasses.replace(first, winner=other), {}, None)
    tracker.close()
    status = {run.data.params["configuration"]: run.data.tags["status"] for run in runs_of(tmp_path)["configuration"]}
    assert (status[first.winner.id], status[other.id]) == ("survivor", "winner")


def test_weights_of_all_go_to_mlflow_and_leave_the_disk(make_race: Any, make_store: Any, tmp_path: Path) -> None:
    race = make_race(n=2, confirm=1)
    verdict = race.run(Mlflow(uri=make_store(tmp_path), weights="all"), tmp_path)
    found = runs_of(tmp_path)
    for run in found["instance"]:
        assert "weights.safetensors" in {file.path for file in found["client"].list_artifacts(run.info.run_id)}
    kept = [path.relative_to(tmp_path / "weights") for path in (tmp_path / "weights").rglob("*.safetensors")]
    assert kept == [Path(verdict.winner.id, "1000.safetensors")], "the confirmation instance, for the model"


def test_use_before_open_is_an_error(make_race: Any) -> None:
    with pytest.raises(TrackingError, match="call open"):
        make_race().train(Mlflow(), make_race().configurations[0], 0, Phase.RACE)
