"""Measures in MLflow: metrics of a configuration's run and of its instances', once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raysearch.tracking.mlflow import Mlflow

# MLflow's own use of SQLAlchemy
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_measures_become_metrics_and_writing_them_twice_adds_no_point(
    make_race: Any, make_store: Any, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    uri, race = make_store(tmp_path), make_race()
    tracker = Mlflow(uri=uri)
    verdict = race.run(tracker, tmp_path)
    seed = next(key.seed for key in race.results if key.configuration_id == verdict.winner.id)
    for _ in range(2):
        again = Mlflow(uri=uri)
        again.open({"name": "small"}, tmp_path)
        again.measured(verdict.winner, None, {"curvature.top_eigenvalue": 7.0})
        again.measured(verdict.winner, seed, {"curvature.top_eigenvalue": 6.0})
        again.finished(verdict, {}, None)
        again.close()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("small")
    found = [
        run for run in client.search_runs([experiment.experiment_id]) if "curvature.top_eigenvalue" in run.data.metrics
    ]
    values = {run.data.tags["kind"]: run.data.metrics["curvature.top_eigenvalue"] for run in found}
    assert values == {"configuration": 7.0, "instance": 6.0}
    for run in found:
        assert len(client.get_metric_history(run.info.run_id, "curvature.top_eigenvalue")) == 1
