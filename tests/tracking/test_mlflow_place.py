"""Where a search is kept in MLflow: the store that is chosen, taken as it is found, or missing."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from mlflow_image import client_of, runs_of

from raysearch.errors import ExperimentError, TrackingError
from raysearch.tracking.mlflow import Mlflow


def test_default_store_is_what_a_bare_mlflow_ui_shows(
    make_race: Any, make_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = Mlflow(weights="none")
    make_race(n=2, confirm=0).run(tracker, tmp_path)
    assert len(runs_of(tmp_path)["configuration"]) == 2
    assert tracker.address.startswith("mlflow ui  and open http://127.0.0.1:5000/#/experiments/1/runs")
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ, "our limits are taken back"


def test_the_environment_chooses_the_store(make_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", make_store(tmp_path))
    tracker = Mlflow()
    tracker.open({"name": "small"}, tmp_path)
    tracker.close()
    assert len(runs_of(tmp_path)["search"]) == 1


def test_an_experiment_that_was_deleted_or_described_is_taken_as_it_is(make_store: Any, tmp_path: Path) -> None:
    uri, client = make_store(tmp_path), client_of(tmp_path)
    made = client.create_experiment("mine", tags={"mlflow.note.content": "my words"})
    client.delete_experiment(made)
    tracker = Mlflow(uri=uri, experiment="mine")
    tracker.open({"name": "small"}, tmp_path)
    tracker.close()
    found = client.get_experiment(made)
    assert found.lifecycle_stage == "active"
    assert found.tags["mlflow.note.content"] == "my words"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"weights": "best"}, "Known: all, none, winner"),
        ({"timeout_s": 0}, "timeout_s must be at least 1, got 0"),
        ({"uri": "http://me:secret@host"}, "carries a password"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ExperimentError, match=re.escape(text)) as caught:
        Mlflow(**settings)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("http://127.0.0.1:9", "server http://127.0.0.1:9 cannot be reached: [Errno 111] Connection refused. Start it"),
        ("postgresql://me:secret@127.0.0.1:9/runs", "MLflow cannot use postgresql://127.0.0.1:9/runs"),
        ("sqlite:////proc/none/mlflow.db", "MLflow cannot use sqlite:////proc/none/mlflow.db"),
    ],
)
def test_a_store_that_is_not_there_is_named_at_once(
    uri: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=re.escape(text)) as caught:
        Mlflow(timeout_s=2).open({"name": "x"}, tmp_path)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
