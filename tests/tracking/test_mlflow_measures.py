"""Measures in MLflow: metrics of a configuration's run and of its instances', once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow_image import runs_of

from raysearch.driver import run
from raysearch.driver.sync import sync
from raysearch.experiment.experiment import from_data
from raysearch.tracking.mlflow import Mlflow


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
    held = client.search_runs([experiment.experiment_id])
    found = [one for one in held if "curvature.top_eigenvalue" in one.data.metrics]
    values = {one.data.tags["kind"]: one.data.metrics["curvature.top_eigenvalue"] for one in found}
    assert values == {"configuration": 7.0, "instance": 6.0}
    for one in found:
        assert len(client.get_metric_history(one.info.run_id, "curvature.top_eigenvalue")) == 1


def test_what_workers_measured_is_told_of_every_configuration(make_store: Any, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    workload = {"name": "digits", "n_train": 100, "n_validation": 60, "n_test": 80, "epochs": 2}
    small = {
        "name": "small",
        "workload": workload,
        "space": {"hidden": [[8], [4]], "optimizer": ["AdamW"], "lr": [0.02], "batch_size": [32]},
        "rule": {"name": "halving", "warmup": 2},
        "race": {"confirm": 2},
        "measures": [{"name": "noise_resilience", "n_draws": 2, "of": "all"}],
        "execution": "local",
        "tracking": {"name": "mlflow", "uri": store},
    }
    run(from_data(small), tmp_path / "run")
    found = runs_of(tmp_path)
    for held in (*found["configuration"], *found["instance"]):
        measured = [name for name in held.data.metrics if name.startswith("noise_resilience.")]
        assert measured
        for name in measured:
            assert len(found["client"].get_metric_history(held.info.run_id, name)) == 1
    before = [dict(held.data.metrics) for held in found["configuration"]]
    sync(tmp_path / "run")
    assert [dict(held.data.metrics) for held in runs_of(tmp_path)["configuration"]] == before
