"""A real tracking server: artifacts through it, and what happens when it dies in mid-race."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import HOST, Server
from waiting import wait_for

from raysearch.errors import TrackingError
from raysearch.tracking.mlflow import Mlflow

pytestmark = pytest.mark.mlflow


@pytest.fixture(scope="module")
def served(make_store: Any, tmp_path_factory: Any) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    make_store(folder)
    server = Server(folder)
    yield server
    server.kill()


def instances(uri: str, experiment: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], "tags.kind = 'instance'", max_results=1000))


def test_a_search_through_a_server(
    served: Server, make_race: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    race, tracker = make_race(n=4, confirm=2), Mlflow(uri=served.uri, experiment="through")
    verdict = race.run(tracker, tmp_path)
    assert tracker.n_lost == 0
    assert capsys.readouterr().out == "", "MLflow's links do not disturb the live view"
    assert tracker.address.startswith(f"{served.uri}/#/experiments/")
    runs = instances(served.uri, "through")
    assert len(runs) == len(race.results)
    client = MlflowClient(served.uri)
    for run in runs:
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert ("weights.safetensors" in files) == (run.data.params["configuration"] == verdict.winner.id)
        assert run.info.status in ("FINISHED", "FAILED")
    assert not (tmp_path / "mlruns").exists(), "artifacts go through the server"


@pytest.mark.long
def test_a_server_that_dies_stops_no_race_and_gets_all_when_it_is_back(
    served: Server, outliving: Any, make_race: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two searches when the server dies: one ends during the outage, the other after it."""
    (tmp_path / "patient").mkdir()
    short, patient = (
        Mlflow(uri=served.uri, experiment="short", timeout_s=2),
        Mlflow(uri=served.uri, experiment="patient"),
    )
    race, long_race = make_race(n=4, confirm=2), make_race(n=2, confirm=2, weights=False)
    short.open({"name": "short"}, tmp_path)
    patient.open({"name": "patient"}, tmp_path / "patient")
    race.train(short, race.configurations[0], 0)
    wait_for("all to be written", lambda: not short.backlog)
    served.kill()
    verdict, patient_verdict = race.race(short), long_race.race(patient)
    short.finished(verdict, {}, None)
    assert short.backlog > 10, "the race never waits"
    with caplog.at_level(logging.WARNING, "raysearch.tracking"):
        short.close()
    assert short.n_lost > 10
    assert "raysearch sync" in caplog.text
    assert len(caplog.records) <= 4, "said once"
    assert (patient.n_lost, patient.backlog > 5) == (0, True)

    with outliving("the fixture ends it"):
        served.__init__(served.folder, served.port)  # type: ignore[misc]
    patient.finished(patient_verdict, {}, None)
    patient.close()
    assert patient.n_lost == 0
    assert len(instances(served.uri, "patient")) == len(long_race.results)
    assert len(instances(served.uri, "short")) == 1
    for _ in range(2):
        again, whole = Mlflow(uri=served.uri, experiment="short"), make_race(n=4, confirm=2)
        again.open({"name": "short"}, tmp_path)
        again.finished(whole.race(again), {}, None)
        again.close()
        assert again.n_lost == 0
        runs = instances(served.uri, "short")
        assert {(r.data.params["configuration"], int(r.data.params["seed"])) for r in runs} == {
            (key.configuration_id, key.seed) for key in whole.results
        }
        assert len(runs) == len(whole.results)


def test_a_server_that_never_answers_is_left_after_the_time_limit(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        uri = f"http://{HOST}:{silent.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(TrackingError, match="cannot be reached"):
            Mlflow(uri=uri, timeout_s=1).open({"name": "x"}, tmp_path)
        assert time.monotonic() - start < 60, "MLflow itself would try for many minutes"
